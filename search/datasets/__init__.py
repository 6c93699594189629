"""The data sets: which there are, and how their images are read."""
