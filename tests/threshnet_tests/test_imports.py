"""Imports go one way, and specs, costs and spaces import no torch."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a fresh process at the root of the repository."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_specs_costs_and_spaces_import_no_torch() -> None:
    done = run(
        "import sys, threshnet, threshnet.costs, threshnet.shapes, threshnet.baselines, threshnet.published, space\n"
        "print(sorted({'torch', 'torchvision', 'onnx', 'onnxruntime', 'pandas'} & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_import_contracts_hold() -> None:
    done = run("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 4 kept, 0 broken" in done.stdout


def test_only_final_scoring_reads_test_data() -> None:
    packages = ("threshnet", "space", "search", "studies", "benchmarks")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    assert {file.relative_to(ROOT).as_posix() for file in files if mentions(file, "load_test")} == {
        "studies/export/images.py",
        "studies/export/final_training.py",
        "benchmarks/balanced_error.py",
        "benchmarks/comparison/runs.py",
    }


def mentions(file: Path, name: str) -> bool:
    """True if the file imports or uses `name`."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return any(
        (isinstance(node, ast.Name) and node.id == name)
        or (isinstance(node, ast.Attribute) and node.attr == name)
        or (isinstance(node, ast.alias) and node.name == name)
        for node in nodes
    )
