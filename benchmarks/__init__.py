"""Benchmarks that print the tables of the documentation: `python -m benchmarks.NAME` from the repository root."""
