"""Reports about a study: results folders and the HTML page."""
