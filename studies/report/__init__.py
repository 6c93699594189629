"""Reports of a study: results folders and the HTML page."""
