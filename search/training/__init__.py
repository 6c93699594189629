"""Training of a single network."""
