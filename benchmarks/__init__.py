"""Benchmarks that print the tables of the documentation. Run `python -m benchmarks.NAME` in the repository root."""
