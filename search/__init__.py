"""Scoring of candidates (data, training, latency) and the loop of a study."""
