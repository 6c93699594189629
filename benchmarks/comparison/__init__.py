"""Published networks and baselines, counted, measured and trained by one protocol."""
