"""The page of a study: one HTML file that shows fronts, networks and progress and works offline."""
