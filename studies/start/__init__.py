"""Starting a study: its file, and an estimate of its duration."""
