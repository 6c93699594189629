"""Train chosen networks in full with the same data, recipe and seeds, and compare them."""
