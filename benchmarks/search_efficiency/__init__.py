"""The cost of finding the front of recorded tables: the page of results."""
