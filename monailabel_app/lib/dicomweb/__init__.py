"""Studies of a DICOM archive: cines copied from it, labels sent to it."""
