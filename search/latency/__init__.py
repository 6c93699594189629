"""Measurement of latency: devices, probes, the protocol, and the record of a reading."""
