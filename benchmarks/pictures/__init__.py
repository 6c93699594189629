"""Take the pictures of the documentation."""
