"""The wheel is complete: installed without the checkout, it launches, shows, exports and checks a study."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = """
name = "small"
trials = 2
input_size = 16
sampler = "random"
[space]
base = "small-images"
granularity = "block"
blocks = [4]
layers = [1, 2]
growths = [8]
transitions = [16]
[data]
name = "digits"
train = 200
[training]
epochs = 1
[latency]
max_s = 0.5
min_s = 0.1
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, built from a copy of the packages so that no build folder is left in the checkout."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("threshnet", "space", "search", "studies"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder)
    return folder


def test_the_wheel_has_every_module_and_data_file_of_its_packages(installed: Path) -> None:
    data = (".py", ".toml", ".html", ".css", ".js", ".typed")
    for package in ("threshnet", "space", "search", "studies"):
        files = [file for file in (ROOT / package).rglob("*") if file.suffix in data or file.name == "py.typed"]
        names = {file.relative_to(ROOT) for file in files if "results" not in file.relative_to(ROOT).parts[1:2]}
        missing = sorted(str(name) for name in names if not (installed / name).is_file())
        assert missing == []


@pytest.mark.services
def test_the_wheel_runs_a_study_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    """Packages come from the environment; -P keeps the working directory, -I would keep PYTHONPATH, off the path."""
    program = (
        "import sys; from studies.cli import main; import studies; print(studies.__file__, file=sys.stderr); main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), sysconfig.get_path("purelib")])}

    def threshnet(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr.startswith(str(installed))
        return done.stdout

    (tmp_path / "small.toml").write_text(STUDY)
    assert "2 networks trained" in threshnet("launch", "small.toml")
    assert "Pareto front of small" in threshnet("pareto", "small", "--html", "front.html", "--results", "results")
    assert "<title>Pareto front of small</title>" in (tmp_path / "front.html").read_text()
    threshnet("export", "small", "--knee", "-o", "model")
    assert "BAD" not in threshnet("check", "model")
