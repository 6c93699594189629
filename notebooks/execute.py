"""Run notebooks in place, without times: `python notebooks/execute.py notebooks/*.ipynb`.

Without SMOKE_TEST in the environment the studies are the full ones and take minutes; pictures need a Chrome.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

LIVE = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> None:
    """Run a notebook from top to bottom in a kernel of its own and write its outputs into it."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=3600, record_timing=False, coalesce_streams=True, resources=resources
        ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # the live lines of a progress display are empty without a kernel
            cell.outputs = [output for output in cell.outputs if LIVE not in output.get("data", {})]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        execute(Path(name))
