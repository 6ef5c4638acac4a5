"""DICOM out: the modality worklist, from the orders in the dose database."""
