"""Replays of search strategies on a recorded table."""
