"""Cleanup: what is old leaves the database, and no row changes by it."""
