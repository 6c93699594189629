"""The replay benchmark: stored runs, comparison with them, tables and the figure."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from benchmarks_tests.made_up import table_of, whole_table

from benchmarks.search_efficiency import __main__ as search_efficiency
from benchmarks.search_efficiency import runs as replay_runs
from benchmarks.search_efficiency.figure import COLOURS, figure, height
from benchmarks.search_efficiency.page import by_strategy, costs, markdown, ratios, reached
from benchmarks.search_efficiency.runs import Run, read_runs, write_runs
from benchmarks.search_efficiency.strategies import OURS
from benchmarks.threshbench.table import FOLDER, Table
from studies.figures.chrome import NoChrome

NETWORKS = 225


def run(strategy: str, seed: int, to_95: float | None, end: str = "reached", last: float = 50.0) -> Run:
    """A run that reaches 95 % of the front at cost `to_95`, if at all, and at twice the cost with charged repeats."""
    curve = [(1.0, 1.0, 0.5)]
    curve += [] if to_95 is None else [(to_95, 2 * to_95, 0.96)]
    curve += [(last, 2 * last, 0.99)] if end == "reached" else [(last, 2 * last, curve[-1][2])]
    return Run("made_up", "0", strategy, seed, tuple(curve), 100, 40, end, 1.0, {"optuna": "5"})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recorded table, replayed in this process."""
    lines: list[dict[str, object]] = [dict(whole_table().about)]
    for entry in whole_table().entries:
        network = entry.spec.fingerprint()
        lines.append({"network": network, "latency_ms": entry.latency_ms, "interval_ms": entry.latency_interval_ms})
        lines += [{"network": network, **asdict(trained)} for trained in entry.trained]
    (tmp_path / "threshbench_svhn.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def run_all(table: Table, todo: list[tuple[str, int]]) -> list[Run]:
        replayed.extend(todo)
        return [replay_runs.run_one(table, strategy, seed) for strategy, seed in todo]

    replayed: list[tuple[str, int]] = []
    monkeypatch.setattr(replay_runs, "limit", lambda strategy: 60)
    monkeypatch.setattr(search_efficiency, "run_all", run_all)
    monkeypatch.setattr(search_efficiency, "replayed", replayed, raising=False)
    return tmp_path


def program(folder: Path, *more: str) -> tuple[int, list[tuple[str, int]]]:
    """Run the benchmark; returns the exit status and the (strategy, seed) pairs that were replayed."""
    replayed: list[tuple[str, int]] = vars(search_efficiency)["replayed"]
    replayed.clear()
    status = search_efficiency.main(["--table", "svhn", "--folder", str(folder), "--strategies", "mo_asha", *more])
    return status, list(replayed)


def test_the_recorded_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """If this fails: `python -m benchmarks.search_efficiency --render .../NAME.json --output .../NAME.md`."""
    file = FOLDER / "search_efficiency_cifar10.json"
    assert search_efficiency.main(["--render", str(file)]) == 0
    assert capsys.readouterr().out == file.with_suffix(".md").read_text(encoding="utf-8")


def test_stored_replays_are_not_repeated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(folder, "--seeds", "2") == (0, [("mo_asha", 0), ("mo_asha", 1)])
    stored = (folder / "search_efficiency_svhn.jsonl").read_text()
    page = capsys.readouterr().out
    assert "| MO-ASHA, random | >= " in page
    assert "\n\nConditions: latencies of abacus, numpy " in page
    assert program(folder, "--seeds", "2") == (0, [])
    assert program(folder, "--seeds", "3") == (0, [("mo_asha", 2)])
    assert (folder / "search_efficiency_svhn.jsonl").read_text().startswith(stored)
    assert program(folder, "--seeds", "1", "--again")[1] == [("mo_asha", 0)]


def test_quick_compares_with_stored_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(folder, "--seeds", "3")
    assert program(folder, "--quick") == (0, [("mo_asha", 0), ("mo_asha", 1), ("mo_asha", 2)])
    file = folder / "search_efficiency_svhn.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["curve"][0][2] += 0.001
    file.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    assert program(folder, "--quick")[0] == 1
    differing = [line for line in capsys.readouterr().err.splitlines() if line.startswith("differs")]
    assert len(differing) == 2
    assert differing[0].startswith("differs: mo_asha, seed 1")
    assert differing[1] == "differs: mo_asha, seed 2: not stored"


def test_the_check_fails_without_ours(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(folder, "--seeds", "1", "--check")[0] == 1
    assert "--check: no runs of 'ours' are stored" in capsys.readouterr().err


def test_the_page_is_written_without_a_browser(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(*_: object) -> bytes:
        raise NoChrome("no Chrome found")

    monkeypatch.setattr(search_efficiency, "draw", draw)
    program(folder, "--seeds", "1", "--output", str(folder / "new" / "page.md"))
    assert "page.png not written: no Chrome found" in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["page.json", "page.md"]


def test_unknown_strategies_and_missing_tables_are_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--strategies", "anneal"], "--strategies anneal: must be among ours, "),
        (["--table", "cifar10"], "--table cifar10: "),
    ):
        with pytest.raises(SystemExit):
            program(folder, *more)
        assert message in capsys.readouterr().err


def test_runs_of_another_table_are_ignored(tmp_path: Path) -> None:
    table, file = table_of([(1.0, 5.0), (4.0, 1.0)]), tmp_path / "new" / "runs.jsonl"
    first, second = replay_runs.run_one(table, "mo_asha", 0), replay_runs.run_one(table, "mo_asha", 1)
    assert (first.end, first.repeats, first.curve[-1]) == ("reached", 0, (2.0, 2.0, 1.0))
    write_runs(file, {("mo_asha", 1): second, ("mo_asha", 0): first})
    assert list(read_runs(file, table).values()) == [first, second]
    assert read_runs(file, table_of([(1.0, 5.0), (4.0, 1.5)])) == {}
    assert first.equivalent(replace(first, seconds=9.0, versions={}))
    assert not first.equivalent(replace(first, repeats=1))


def test_costs_of_runs_that_do_not_reach_the_share() -> None:
    runs = [run("gp", 0, 20.0), run("gp", 1, None, "limit", 60.0), run("gp", 2, None, "stopped", 30.0)]
    paid = costs(runs, 0.95, "cached", NETWORKS)
    assert list(paid.values) == [20, 60, NETWORKS]  # at 95 %, at the limit, the whole table
    assert paid.text() == ">= 60.0 (40.0 to 142), 1 censored"
    assert costs(runs, 0.95, "charged", NETWORKS).values == (40, 120, NETWORKS)
    assert costs(runs[:1], 0.95, "cached", NETWORKS).text() == "20.0 (20.0 to 20.0)"
    assert costs([run(OURS, 0, None, "limit", 60.0)], 0.95, "cached", NETWORKS).values == (NETWORKS,)


def made_up_runs(ours: float) -> list[Run]:
    """Three seeds of each of three strategies."""
    of = {"nsga2": 60.0, OURS: ours, "gp": 24.0}
    return [run(strategy, seed, paid + seed) for strategy, paid in of.items() for seed in range(3)]


def test_the_page_has_costs_ratios_and_censored_seeds() -> None:
    runs = [*made_up_runs(9.0), run("gp", 3, None, "limit", 60.0)]
    page = markdown(runs, whole_table(), "abacus")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[:6]] == [
        "| Full trainings; repeated proposals are free",
        "| ---",
        "| fewest possible",
        "| **freeze-thaw (ours)**",
        "| GP (Optuna)",
        "| NSGA-II (Optuna)",
    ]
    assert "| >= 25.5 (24.8 to 34.5), 1 censored |" in rows[4]
    assert rows[4].endswith("| 40% | 4 |")
    assert "- Cost of ours to reach 95% if repeated proposals are free: <= 0.392 (" in page
    assert "times that of the best peer (GP (Optuna)) and 0.164 (" in page
    assert "Caveat: nothing was trained." in page
    assert page.endswith("abacus.")


@pytest.mark.parametrize(("ours", "goal"), [(11.0, True), (11.4, False), (20.0, False), (30.0, False)])
def test_the_goal_is_half_of_the_best_and_a_fifth_of_nsga2(ours: float, goal: bool) -> None:
    runs = made_up_runs(ours)
    assert reached(runs, NETWORKS) is goal
    assert [each.peer for each in ratios(runs, "cached", NETWORKS)] == ["gp", "nsga2"]
    assert not reached([one for one in runs if one.strategy != "nsga2"], NETWORKS)


def test_the_figure_labels_every_line() -> None:
    runs = [replace(one, curve=((1.0, 1.0, 0.5), (40.0 + one.seed, 50.0, 0.99))) for one in made_up_runs(9.0)]
    runs.append(replace(runs[0], seed=3, curve=((30.0, 30.0, 0.5),), end="limit"))
    chart = figure(runs, whole_table())
    texts = [annotation.text for annotation in chart.layout.annotations]
    assert texts[0].startswith("fewest possible ")
    assert set(texts[1:]) == {"<b>freeze-thaw (ours) 41.0</b>", "GP (Optuna) 41.0", "NSGA-II (Optuna) >= 40.5"}
    heights = [annotation.y for annotation in chart.layout.annotations]
    assert len(set(heights[1:])) == 3  # labels of lines with the same end do not overlap
    assert (height(0.9), height(0.99), height(1.0)) == pytest.approx((1, 2, 2))
    assert set(by_strategy(runs)) <= set(COLOURS)
