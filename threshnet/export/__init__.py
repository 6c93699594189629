"""Export a network to a self-contained model folder and verify every file in it."""
