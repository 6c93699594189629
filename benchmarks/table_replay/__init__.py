"""Replays of searches on recorded tables: every strategy gets the same referee."""
