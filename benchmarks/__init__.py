"""Programs that each print one table of the README: `python -m benchmarks.NAME` from the repository's root."""
