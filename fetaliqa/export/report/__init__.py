"""DICOM measurement reports (structured reports, TID 1500). Not for clinical use."""
