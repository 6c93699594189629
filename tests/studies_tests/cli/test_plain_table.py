"""Tables in a terminal of 80 characters: no name and no number is cut."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from search_tests.tiny import steady_latency
from studies_tests.sample import remeasured, sample_loaded

from search.latency.compare import Comparison, Pair
from search.volume import Step
from studies.cli.app import studies_table
from studies.cli.benchmark import benchmark_table
from studies.cli.network import costed_spec, costs_table
from studies.cli.plain_table import PlainTable
from studies.cli.tables import comparison_table, front_table, moves_tables, named_table, volume_table
from studies.export.benchmark import FileBenchmark, Times
from studies.export.score import Score
from studies.fronts.front import fronts_of
from studies.fronts.moves import moves
from studies.listing import StudySummary
from threshnet import NAMED
from threshnet.spec_file import ResolvedNetwork

LONG = "a_study_with_a_name_of_eighty_characters_" + "x" * 39
LIBRARY = "torchvision/mobilenet_v3_small"
NAMES = {LONG, f"{LONG},", LIBRARY}


def rendered(table: Table, width: int) -> list[str]:
    """The lines of a table in a terminal of this width."""
    console = Console(width=width, file=io.StringIO(), markup=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def shown(table: Table, width: int) -> tuple[list[str], list[str]]:
    """The words of a table's cells that were printed in one piece, and those that were not."""
    lines = rendered(table, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "\n".join(lines)
    printed = {word for line in lines for word in line.split()}
    words = [word for column in table.columns for cell in column.cells for word in str(cell).split()]
    return [word for word in words if word in printed], [word for word in words if word not in printed]


def made_tables() -> dict[str, Table]:
    """One table of each kind, with long names and numbers."""
    summary = StudySummary("cifar10_cpu_rungs", {"finished": 1234, "stopped": 4321}, 1.0, 71.25, "2026-11-28 12:00")
    fronts = fronts_of(remeasured(sample_loaded(20), "cpu", "torch", {3, 9}))
    latency = replace(steady_latency(123.456, warnings=("wide spread",)), low_ms=120.001, high_ms=130.123)
    times = Times(latency, latency)
    score = Score(120, 1000)
    files = [
        FileBenchmark(file, "onnxruntime", "int8", 3 * 2**20, times, score=score)
        for file in ("model_int8.onnx", "m.pt2")
    ]
    pair = Pair(0, 1, 1.001, 0.487, 1.012)
    compared = Comparison((pair,), (123.456, 124.567), 12, "abacus", "onnxruntime", "1.20", ())
    network = replace(NAMED["threshnet95"], classes=1000)
    moved = [part for part in moves_tables(moves(*fronts)) if isinstance(part, Table)]
    return {
        "studies": studies_table("sqlite:///x.db", [summary, replace(summary, name=LONG)]),
        "front": front_table(fronts[0]),
        "named": named_table(fronts[0]),
        "moved": moved[0],
        "benchmark": benchmark_table(Path("model"), files),
        "compare": comparison_table([f"{LONG}, trial 12", LIBRARY], compared, "cpu"),
        "costs": costs_table([costed_spec("mine", ResolvedNetwork(LIBRARY, "a test", network), None, 224)]),
        "volume": volume_table({LONG: [Step(1, 100, 1.0, 61.25)]}, {LONG: 51.26}, 100, "of the box"),
    }


@pytest.mark.parametrize("name", made_tables())
def test_at_80_characters_no_word_is_cut(name: str) -> None:
    table = made_tables()[name]
    assert isinstance(table, PlainTable)
    left_out = [column for column in table.columns if column.header in table.optional]
    optional = {word for column in left_out for cell in column.cells for word in str(cell).split()}
    whole, broken = shown(table, 80)
    assert whole
    assert set(broken) - optional <= NAMES  # these continue on the next line
    assert shown(table, 1000)[1] == []


def test_a_table_that_fits_is_not_changed() -> None:
    table = PlainTable("Some", optional=("b",))
    for header in ("a", "b"):
        table.add_column(header)
    table.add_row("one two", "3")
    assert [line.split() for line in rendered(table, 20)][-2] == ["one", "two", "3"]


def test_cells_wrap_then_optional_columns_go_then_names_break() -> None:
    table = PlainTable("Some", optional=("b", "c"))
    for header, overflow in (("a", "fold"), ("b", "ellipsis"), ("c", "ellipsis"), ("d", "ellipsis")):
        table.add_column(header, overflow=overflow)  # type: ignore[arg-type]
    table.add_row("abcdefghijklmnopqrstuvwxyz", "1.5 (1-2)", "1234", "5678")
    table.caption = "Caption"

    def rows(width: int) -> list[list[str]]:
        return [line.split() for line in rendered(table, width)[4:]]

    assert rows(60)[0] == ["abcdefghijklmnopqrstuvwxyz", "1.5", "(1-2)", "1234", "5678"]
    assert rows(48)[:2] == [["abcdefghijklmnopqrstuvwxyz", "1.5", "1234", "5678"], ["(1-2)"]]
    assert rows(40)[0] == ["abcdefghijklmnopqrstuvwxyz", "1234", "5678"]
    assert "narrow: b" in " ".join(" ".join(row) for row in rows(40))
    assert rows(24)[:2] == [["abcdefghijklmnop", "5678"], ["qrstuvwxyz"]]
