"""The wheel is complete: installed without the checkout, it launches, shows, exports and checks a study."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("threshnet_nas", "threshnet", "space", "search", "studies")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the packages so that no build folder is left in the checkout."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_has_every_module_and_data_file_of_its_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        packed = set(content.namelist())
    data = (".py", ".toml", ".html", ".css", ".js", ".typed")
    for package in PACKAGES:
        files = [file for file in (ROOT / package).rglob("*") if file.suffix in data or file.name == "py.typed"]
        names = {file.relative_to(ROOT) for file in files if "results" not in file.relative_to(ROOT).parts[1:2]}
        missing = sorted(str(name) for name in names if str(name) not in packed)
        assert missing == []


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel and its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = ["install", "--quiet", "--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", *install, str(wheel)], check=True)
    return folder / "bin"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program in a folder, without this environment's settings, and return its output."""
    settings = ("PYTHON", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(settings)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.wheel
def test_the_wheel_runs_a_study_outside_the_checkout(environment: Path, tmp_path: Path) -> None:
    threshnet = environment / "threshnet"
    assert "networks trained" in run(threshnet, "launch", "digits", "--trials", "2", cwd=tmp_path)
    assert "Pareto front of digits" in run(threshnet, "pareto", "digits", "--html", "front.html", cwd=tmp_path)
    assert "<title>Pareto front of digits</title>" in (tmp_path / "front.html").read_text()
    run(threshnet, "export", "digits", "--knee", "-o", "model", cwd=tmp_path)
    assert "BAD" not in run(threshnet, "check", "model", cwd=tmp_path)


@pytest.mark.wheel
def test_the_program_of_the_readme_runs_as_printed(environment: Path, tmp_path: Path) -> None:
    (program,) = re.findall(r"<!-- PROGRAM -->\n```python\n(.*?)```\n", (ROOT / "README.md").read_text(), re.S)
    (tmp_path / "program.py").write_text(program)
    output = run(environment / "python", "program.py", cwd=tmp_path)
    assert "trial" in output
    assert "BAD" not in run(environment / "threshnet", "check", "model", cwd=tmp_path)
