"""Run notebooks in place, without times: `python notebooks/execute.py notebooks/*.ipynb`.

Without SMOKE_TEST in the environment the studies are the full ones and take minutes; pictures need a Chrome.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def execute(path: Path) -> None:
    """Run a notebook from top to bottom in a kernel of its own and write its outputs into it."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=3600, record_timing=False, coalesce_streams=True, resources=resources
        ).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        execute(Path(name))
