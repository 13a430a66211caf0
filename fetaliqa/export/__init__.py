"""Export of labelled frames in other formats, and import of labels from other software."""
