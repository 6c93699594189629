"""The project's own files are consistent: version and changelog, linters of make and of pre-commit."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import threshnet
from studies.cli import cli

ROOT = Path(__file__).parent.parent
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def test_the_command_line_prints_the_version_of_the_package() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.output == f"threshnet, version {threshnet.__version__}\n"


def test_the_distribution_takes_its_version_from_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in settings["project"]["dynamic"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "threshnet.__version__"}


def test_the_changelog_lists_releases_newest_first_up_to_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = [(tuple(map(int, version.split("."))), date) for version, date in RELEASE.findall(text)]
    assert releases == sorted(releases, reverse=True)
    assert len({version for version, _ in releases}) == len(releases)
    headings = re.findall(r"^## .*", text, re.MULTILINE)
    assert headings[0] == "## Unreleased"
    assert len(headings) == 1 + len(releases), "every other section is '## X.Y.Z - YYYY-MM-DD'"
    base, _, development = threshnet.__version__.partition(".dev")
    version = tuple(map(int, base.split(".")))
    assert releases[0][0] < version if development else releases[0][0] == version


def test_pre_commit_calls_the_linters_of_make() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    linters = {line.split("$(BIN)/", 1)[1].split()[0] for line in recipe[1].splitlines() if "$(BIN)/" in line}
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks} == linters
    assert {hook["language"] for hook in hooks} == {"system"}


@pytest.mark.parametrize("job", ["linux", "coverage", "macos"])
def test_workflows_call_what_a_contributor_calls(job: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [step["run"] for step in workflow["jobs"][job]["steps"] if "run" in step]
    assert {"linux": "bash .ci/run", "coverage": "make coverage", "macos": "make test"}[job] in commands


def test_the_map_names_files_that_exist() -> None:
    rows = re.findall(r"^\| [^|]+ \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) > 30
    assert [name for name in named if not (ROOT / name).exists()] == []
