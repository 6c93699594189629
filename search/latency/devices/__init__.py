"""Measurement devices."""
