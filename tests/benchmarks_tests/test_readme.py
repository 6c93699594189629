"""The README quotes what the benchmarks wrote."""

import json
import re
from pathlib import Path

import pytest

from threshnet.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]
QUOTED = {  # file of benchmarks/results: how many of its lines the README must hold at least
    "latency_repeatability.md": 4,
    "training_beside.md": 4,
    "runtimes.md": 4,
    "training_throughput.md": 5,
    "search_efficiency_cifar10.md": 11,
}

PAGES = ["README.md", "CONTRIBUTING.md"] + [
    file.relative_to(ROOT).as_posix() for file in sorted((ROOT / "studies" / "results").glob("*/README.md"))
]
TARGET = re.compile(r"\]\(([^)\s]+)\)")  # of a link or picture
SECTIONS = ("A front for fewer trainings", "Latency you can trust")  # whose tables are all of benchmarks/results


@pytest.mark.parametrize("name", QUOTED)
def test_the_readme_quotes_the_tables_as_written(name: str) -> None:
    written = (ROOT / "benchmarks" / "results" / name).read_text().splitlines()
    quoted = set((ROOT / "README.md").read_text().splitlines()) & {line for line in written if line.startswith("| ")}
    assert len(quoted) >= QUOTED[name]


def test_no_table_row_of_the_readme_was_changed_by_hand() -> None:
    written = {
        line for file in (ROOT / "benchmarks" / "results").glob("*.md") for line in file.read_text().splitlines()
    }
    readme = (ROOT / "README.md").read_text()
    sections = [readme.partition(f"\n## {title}\n")[2].partition("\n## ")[0] for title in SECTIONS]
    rows = [line for section in sections for line in section.splitlines() if line.startswith("|")]
    assert rows
    assert [row for row in rows if row not in written] == []


def test_the_comparison_is_quoted_as_written() -> None:
    written = (ROOT / "studies" / "results" / "comparison" / "README.md").read_text().splitlines()
    block = (ROOT / "README.md").read_text().partition("<!-- COMPARISON -->\n")[2].partition("<!-- /COMPARISON -->")[0]
    quoted = [line for line in block.splitlines() if line]
    assert sum(line.startswith("| ") for line in quoted) > len(PUBLISHED)
    assert [line for line in quoted if line not in written] == []


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_in_the_repository(page: str) -> None:
    targets = [target.partition("#")[0] for target in TARGET.findall((ROOT / page).read_text(encoding="utf-8"))]
    files = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in files if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_networks_recovered_are_counted_as_written() -> None:
    folder = ROOT / "studies" / "results" / "recover"
    readme = " ".join((ROOT / "README.md").read_text().split())
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("threshnet28", "threshnet79")}
    first = found["threshnet79"]["networks"][0]
    assert f"{found['threshnet28']['matches']} within 0.5 %" in readme
    assert f"has {found['threshnet79']['matches']}, and ThreshNet79 is {first['rank']}th of them" in readme
    assert first["named"] == "threshnet79"
