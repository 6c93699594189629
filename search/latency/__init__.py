"""Latency measurement: devices, probes, the protocol and the records of readings."""
