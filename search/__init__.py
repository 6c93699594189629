"""How a candidate is scored (data, training, latency) and how the search runs."""
