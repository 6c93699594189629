"""Every notebook runs from top to bottom in a kernel of its own, and its committed outputs are complete and clean."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import threshnet_nas

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NO_BROWSER = ("BROWSER_PATH", "/nowhere")  # a notebook must run without Chrome
LARGEST = 400_000  # bytes of a committed notebook, pictures included
# Folders of one machine, and URLs except that of the SVG standard.
MACHINE = re.compile(r"(?<![\w.])/(tmp|home|root|work|Users|var|opt|private)/|https?://(?!www\.w3\.org)")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    for name, value in (("SMOKE_TEST", "1"), ("PYTHONPATH", str(ROOT)), ("OMP_NUM_THREADS", "1"), NO_BROWSER):
        monkeypatch.setenv(name, value)
    working = tmp_path / "working"
    working.mkdir()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(working)}}).execute()
    warnings = [output.text for output in outputs(notebook) if output.get("name") == "stderr"]
    assert not warnings, "".join(warnings)
    assert not list(working.iterdir()), "a notebook must not write into the working directory"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_were_run_and_name_no_machine(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(not cell.metadata for cell in notebook.cells), "execution times are committed"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for output in outputs(notebook):
        assert output.output_type in ("stream", "execute_result", "display_data")
        assert output.get("name") != "stderr"
        for kind, value in (output.get("data") or {"text/plain": output.get("text")}).items():
            assert kind.startswith("image/png") or not MACHINE.search(value), value
    assert pictures(notebook), "a notebook must show a picture"


def test_each_notebook_links_to_another_and_has_no_dead_links() -> None:
    names = {path.name for path in NOTEBOOKS}
    assert len(names) == 6
    for path in NOTEBOOKS:
        text = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
        linked = set(re.findall(r"\]\(([^)]+)\)", text))
        assert linked & names
        assert not {target for target in linked if not (path.parent / target).exists()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_the_public_package_only(path: Path) -> None:
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert "import threshnet_nas as tn" in code
    assert not re.findall(r"^\s*(?:from|import) (?:threshnet|space|search|studies|benchmarks)\b.*", code, re.M)
    assert set(re.findall(r"\btn\.(\w+)", code)) <= set(threshnet_nas.__all__)


def outputs(notebook: nbformat.NotebookNode) -> list[Any]:
    """List the outputs of all code cells."""
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook: nbformat.NotebookNode) -> int:
    """Count the SVG and PNG pictures of a notebook."""
    kinds = [kind for output in outputs(notebook) for kind in output.get("data", {})]
    return sum(kind in ("image/svg+xml", "image/png") for kind in kinds)
