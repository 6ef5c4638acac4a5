"""The Modality Worklist as values (DICOM PS3.4 annex K): which steps a query means and how they are answered; pure."""
