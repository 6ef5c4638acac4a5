"""Facts to rows: pure, no I/O, no clock, no randomness."""
