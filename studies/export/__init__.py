"""Exporting a network as a model folder, and checking one."""
