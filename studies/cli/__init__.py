"""The command line."""

from studies.cli.app import cli, main

__all__ = ["cli", "main"]
