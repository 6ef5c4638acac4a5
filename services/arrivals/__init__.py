"""DICOM in: every instance raw, then as a study event, then answered."""
