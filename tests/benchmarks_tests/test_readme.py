"""The README quotes what the benchmarks wrote."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUOTED = {  # file of benchmarks/results: how many of its lines the README must hold at least
    "latency_repeatability.md": 4,
    "training_beside.md": 4,
    "runtimes.md": 4,
}


@pytest.mark.parametrize("name", QUOTED)
def test_the_readme_quotes_the_tables_as_written(name: str) -> None:
    written = (ROOT / "benchmarks" / "results" / name).read_text().splitlines()
    quoted = set((ROOT / "README.md").read_text().splitlines()) & {line for line in written if line.startswith("| ")}
    assert len(quoted) >= QUOTED[name]


def test_no_table_row_of_the_readme_was_changed_by_hand() -> None:
    written = {
        line for file in (ROOT / "benchmarks" / "results").glob("*.md") for line in file.read_text().splitlines()
    }
    section = (ROOT / "README.md").read_text().partition("## Latency you can trust")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert rows
    assert [row for row in rows if row not in written] == []
