"""Sinks: where messages go, one kind per file."""
