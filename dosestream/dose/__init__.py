"""DICOM instances to study events: dose reports read by code, everything else by its header. Pure: no I/O."""
