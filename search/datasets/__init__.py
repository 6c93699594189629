"""The available data sets and their readers."""
