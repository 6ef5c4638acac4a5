"""Replay: a generation of tables built anew from the topics, in bulk."""
