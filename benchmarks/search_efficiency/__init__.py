"""Searches replayed on a recorded table."""
