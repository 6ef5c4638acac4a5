"""Identical messages within 24 hours: the same answer, and no second event."""
