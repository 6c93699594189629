"""Starting a study: its file, its check, and an estimate of its duration."""
