"""Model folders: every file format that a network is exported to, reloaded and compared."""
