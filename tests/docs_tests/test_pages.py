"""README and the documentation are accurate: links, commands, study files, quoted numbers and pictures."""

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.generate import BENCHMARKS, STUDIES, pages, pictures
from studies.cli import cli
from studies.network import read_network
from studies.spec import parse_spec
from threshnet.drawing import schedule_svg
from threshnet.spec import NetworkSpec

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "pages"
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
RESULTS = [*sorted(STUDIES.glob("*/README.md")), BENCHMARKS / "comparison" / "README.md"]
PAGES = [page.relative_to(ROOT).as_posix() for page in WRITTEN]
QUOTED = {"search_efficiency.md": 11}  # file of benchmarks/results: minimum number of its rows in README
TARGET = re.compile(r"\]\(([^)\s]+)\)")  # the target of a link or picture
GENERATED = pages()
TOY_FOLDER = ROOT / "tests" / "extension_tests"  # the examples of the pages on adding something
TOYS = {file.name for file in TOY_FOLDER.glob("toy_*.py")} | {
    f"toys.py:{section}" for section in re.findall(r"\[start:(\w+)\]", (TOY_FOLDER / "toys.py").read_text())
}
INCLUDED = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)


def blocks(page: str, language: str) -> Iterator[str]:
    """Yield the fenced code blocks of a page in a language, dedented."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for indent, code in re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
        yield "\n".join(line.removeprefix(indent) for line in code.splitlines())


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of every `threshnet` command in a page's shell blocks."""
    for block in blocks(page, "sh"):
        for line in re.split(r"\n|&&", block.replace("\\\n", " ")):
            words = shlex.split(line.removesuffix("&"), comments=True)
            if words[:1] == ["threshnet"]:
                yield words[1:]


def parse(words: list[str]) -> None:
    """Parse a command with click without running it."""
    command: click.Command = cli
    context = cli.make_context("threshnet", list(words))
    while isinstance(command, click.Group) and words and words[0] in command.list_commands(context):
        name, *words = words
        command = command.get_command(context, name) or command
    command.make_context(command.name, words)


@pytest.mark.parametrize("page", [*PAGES, *(page.relative_to(ROOT).as_posix() for page in RESULTS)])
def test_links_point_to_files(page: str) -> None:
    targets = [target.partition("#")[0] for target in TARGET.findall((ROOT / page).read_text(encoding="utf-8"))]
    files = [target for target in targets if target and not re.match(r"[a-z]+:", target) and "generated/" not in target]
    assert [target for target in files if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    for words in commands(page):
        parse(words)


@pytest.mark.parametrize("page", PAGES)
def test_study_files_are_valid(page: str) -> None:
    for block in blocks(page, "toml"):
        parse_spec({"name": "example", "trials": 1} | tomllib.loads(block))


@pytest.mark.parametrize("page", PAGES)
def test_included_parts_are_generated(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(INCLUDED.findall(text)) <= GENERATED.keys() | TOYS
    assert len(re.findall(r"8\s*<\s*-\s*-", text)) == len(INCLUDED.findall(text)), "a malformed include"
    shown = re.findall(r"generated/([\w.]+)\)", text)
    assert set(shown) <= pictures().keys()


def test_every_generated_part_and_every_toy_is_included_once() -> None:
    included = [name for page in WRITTEN for name in INCLUDED.findall(page.read_text(encoding="utf-8"))]
    assert sorted(included) == sorted([*GENERATED, *TOYS])


def test_result_tables_are_shown_unchanged() -> None:
    for file in BENCHMARKS.glob("*.md"):
        assert GENERATED[f"{file.stem}.inc"] == file.read_text(encoding="utf-8")
    for file in RESULTS:
        rows = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        assert any(set(rows) <= set(part.splitlines()) for part in GENERATED.values()), file


def test_no_results_table_contains_a_number_typed_by_hand() -> None:
    rows = [
        line for page in (DOCS / "results").glob("*.md") for line in page.read_text().splitlines() if line[:1] == "|"
    ]
    assert [row for row in rows if re.search(r"\d", row)] == []


@pytest.mark.parametrize("name", QUOTED)
def test_readme_quotes_tables_unchanged(name: str) -> None:
    written = set((BENCHMARKS / name).read_text(encoding="utf-8").splitlines())
    block = (ROOT / "README.md").read_text().partition("<!-- EFFICIENCY -->\n")[2].partition("<!-- /EFFICIENCY -->")[0]
    rows = block.splitlines()
    assert len(rows) >= QUOTED[name]
    assert [row for row in rows if row not in written] == []


def test_readme_is_short_and_names_every_folder() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    tree = readme.partition("## What is where")[2].partition("## ")[0]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ours = {Path(file).parts[0] for file in listed if len(Path(file).parts) > 1}
    assert [folder for folder in sorted(ours) if f"\n{folder}/" not in tree] == []


def test_counts_of_recovered_networks_match_the_results() -> None:
    page = " ".join((DOCS / "results" / "recovered.md").read_text().replace("**", "").split())
    found = {
        name: json.loads((STUDIES / "recover" / f"{name}.json").read_text()) for name in ("threshnet28", "threshnet79")
    }
    first = found["threshnet79"]["networks"][0]
    assert f"{found['threshnet28']['matches']} networks match within 0.5 %" in page
    assert f"{found['threshnet79']['matches']} networks match, and ThreshNet79 itself is {first['rank']}th" in page
    assert first["named"] == "threshnet79"
    assert f"[{found['threshnet28']['matches']} networks of" in (DOCS / "explanation" / "thresholds.md").read_text()


@pytest.mark.parametrize(
    "network", [*sorted((DOCS / "pictures").glob("*.json")), "threshnet79"], ids=lambda network: Path(network).stem
)
def test_drawings_are_current(network: Path | str) -> None:
    """If this fails, run `threshnet draw NETWORK -o docs/pages/pictures/NAME.svg`."""
    resolved = read_network(str(network))
    drawn = schedule_svg(resolved.spec, resolved.input_size, resolved.title)
    assert (DOCS / "pictures" / f"{Path(network).stem}.svg").read_text(encoding="utf-8") == drawn


def test_network_specs_in_the_pages_are_valid() -> None:
    (block,) = blocks("docs/pages/reference/files.md", "json")
    NetworkSpec.from_json(json.loads(block))


def test_python_in_the_pages_runs(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = blocks("docs/pages/reference/python.md", "python")
    exec(compile(first, "python.md", "exec"), {})
    assert "14371858" in capsys.readouterr().out


def test_errors_in_troubleshooting_exist_in_the_source() -> None:
    """The fixed parts of each error (`...` marks the variable ones) occur in string literals of the source."""
    texts = [text for package in ("threshnet", "space", "search", "studies") for text in strings(ROOT / package)]
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [quote for bold in re.findall(r"\*\*(.*?)\*\*", page) for quote in re.findall("`(.*?)`", bold)]
    errors = [quote for quote in quoted if " " in quote and not quote.startswith("threshnet ")]
    assert len(errors) > 20
    fragments = [part.strip() for quote in errors for part in quote.split("...")]
    assert [part for part in fragments if not any(part in text for text in texts)] == []


def strings(package: Path) -> Iterator[str]:
    """Yield the string literals of a package's source; NUL replaces what an f-string fills in."""
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
