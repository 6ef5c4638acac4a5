"""MLLP in: every message raw, then normalised, then answered."""
