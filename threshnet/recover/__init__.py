"""Networks of a template with given costs."""
