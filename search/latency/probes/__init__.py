"""Probes: the programs that measure, each running on a measurement device."""
