"""What is known beyond what reports state: size-specific dose, reference levels, thresholds of high dose; pure."""
