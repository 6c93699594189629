"""The page of a study: one HTML file that shows its fronts, its networks and how it went, and needs no network."""
