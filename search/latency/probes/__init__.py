"""Probes: the programs that run on a measurement device and measure networks."""
