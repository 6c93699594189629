"""Samplers: proposals for the next network, and decisions at rungs."""
