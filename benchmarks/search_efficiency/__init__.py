"""Search strategies replayed on a recorded table."""
