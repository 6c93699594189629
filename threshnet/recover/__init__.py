"""Search a template for networks with given costs."""
