"""Servers to measure ingest beside."""
