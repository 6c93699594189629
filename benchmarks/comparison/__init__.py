"""Comparison of the published networks and the baselines under one protocol."""
