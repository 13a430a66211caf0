"""Studies in a DICOM archive: cines are copied into a folder, which is served; final labels go back to it."""
