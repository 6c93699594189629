"""Latency is an instrument reading: how it is taken, with which statistics, on which backend."""
