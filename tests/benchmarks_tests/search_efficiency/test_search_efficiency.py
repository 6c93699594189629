"""The page of replays: stored runs, comparison with them, goals, the page and the figure."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_efficiency import __main__ as search_efficiency
from benchmarks.search_efficiency.figure import figure, height, share_at
from benchmarks.search_efficiency.page import GOALS, missed, shares_of
from benchmarks.search_efficiency.recorded import RECORDED
from benchmarks.table_replay.oracle import best_shares, fewest
from benchmarks.table_replay.replay import Replay
from benchmarks.table_replay.runs import Run, Settings, run_one, stored_in
from benchmarks.table_replay.strategies import STRATEGIES, TITLES
from benchmarks.table_replay.table import Table
from studies.figures.chrome import NoChrome

RESULTS = Path(search_efficiency.__file__).parents[1] / "results"


def run(strategy: str, seed: int, to_90: float, to_95: float | None, spent: float = 100.0) -> Run:
    """A run that reaches 90 and 95 % of the front at these costs."""
    curve = [(to_90, 0.9)] + ([] if to_95 is None else [(to_95, 0.99)])
    costs = {"90": to_90, "95": to_95, "99": to_95}
    return Run(strategy, seed, costs, tuple(curve), (5, 3), 10, spent, 1.0)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The (strategy, seed) pairs that were replayed, in this process and with a small budget."""
    done: list[tuple[str, int]] = []

    def run_all(table: Table, _: Settings, todo: Sequence[tuple[str, int]]) -> list[Run]:
        done.extend(todo)
        return [run_one(table, Settings(6.0), strategy, seed) for strategy, seed in todo]

    monkeypatch.setattr(search_efficiency, "run_all", run_all)
    return done


def program(folder: Path, *more: str) -> int:
    return search_efficiency.main(
        ["--tables", "threshbench_cifar10", "--strategies", "random", "--folder", str(folder), *more]
    )


def test_the_recorded_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """If this fails: `python -m benchmarks.search_efficiency --render FILE.json --output FILE.md`."""
    file = RESULTS / "search_efficiency.json"
    assert search_efficiency.main(["--render", str(file)]) == 0
    assert capsys.readouterr().out == file.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("strategy", ["ours", "tpe_multivariate_rungs", "mo_asha"])
def test_a_stored_replay_can_be_repeated(strategy: str) -> None:
    """Only the first trainings are compared, since rounding errors differ between processors."""
    stored = stored_in(RESULTS / "table_replay" / "metaqnn_cifar10.jsonl")[strategy, 0]
    again = run_one(RECORDED["metaqnn_cifar10"].read(), Settings(11.0), strategy, 0)
    assert again.curve[:4] == stored.curve[:4]
    assert len(again.curve) >= 4


def test_stored_replays_are_not_repeated(
    tmp_path: Path, replayed: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(tmp_path, "--seeds", "2") == 0
    assert replayed == [("random", 0), ("random", 1)]
    assert "| Full trainings, ThreshBench, CIFAR-10 | 90 % of the front |" in capsys.readouterr().out
    assert program(tmp_path, "--seeds", "3") == 0
    assert replayed[2:] == [("random", 2)]


def test_quick_compares_with_stored_runs(
    tmp_path: Path, replayed: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path, "--seeds", "1")
    assert program(tmp_path, "--quick") == 0
    file = tmp_path / "threshbench_cifar10.jsonl"
    line = json.loads(file.read_text())
    file.write_text(json.dumps(line | {"readings": line["readings"] + 1}) + "\n")
    assert program(tmp_path, "--quick") == 1
    assert "differs: threshbench_cifar10, random, seed 0" in capsys.readouterr().err


def test_the_page_is_written_without_a_browser(
    tmp_path: Path, replayed: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(*_: object) -> bytes:
        raise NoChrome("no Chrome found")

    monkeypatch.setattr(search_efficiency, "draw", draw)
    program(tmp_path, "--seeds", "1", "--output", str(tmp_path / "new" / "page.md"))
    assert "page.png not written: no Chrome found" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["page.json", "page.md"]
    assert replayed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--strategies", "anneal"], "--strategies anneal: must be among ours, "),
        (["--tables", "imagenet"], "--tables imagenet: must be among nasbench201_pi4, "),
    ],
)
def test_unknown_names_are_errors(
    tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program(tmp_path, *more)
    assert message in capsys.readouterr().err


def test_goals_compare_with_the_best_peer() -> None:
    name = "nasbench201_xeon"
    peers = [run("tpe_multivariate_rungs", seed, 20.0, 60.0) for seed in range(4)]
    peers += [run("random", seed, 90.0, None) for seed in range(4)]

    def lines(to_90: float, to_95: float) -> list[str]:
        return missed({name: [*peers, *(run("ours", seed, to_90, to_95) for seed in range(4))]})

    peer = "cost relative to the best peer, TPE, multivariate, with rungs"
    title = RECORDED[name].title
    assert lines(10.0, 19.0) == []
    assert lines(13.0, 19.0) == [f"{title}, 90 %: {peer}: 0.650 (0.650 to 0.650), goal {GOALS[name][90]:g}"]
    assert lines(10.0, 21.0) == [f"{title}, 95 %: {peer}: 0.350 (0.350 to 0.350), goal {GOALS[name][95]:g}"]
    assert missed({}) == []


def test_the_share_of_a_run_is_that_of_its_last_training() -> None:
    assert share_at(run("ours", 0, 4.0, 8.0), np.array([1.0, 4.0, 7.9, 8.0, 50.0])).tolist() == [
        0,
        0.9,
        0.9,
        0.99,
        0.99,
    ]
    assert height(np.array([0.0, 0.9, 0.99, 1.0]), 0.99).tolist() == pytest.approx([0, 1, 2, 2])


def test_the_figure_has_a_panel_for_each_table_and_one_legend() -> None:
    runs = {name: [run("ours", 0, 4.0, 8.0), run("mo_asha", 0, 9.0, None)] for name in list(RECORDED)[:4]}
    chart = figure(runs)
    assert len(chart.data) == 8
    assert [line.name for line in chart.data if line.showlegend] == [TITLES["ours"], TITLES["mo_asha"]]


def test_every_strategy_has_a_title() -> None:
    assert TITLES.keys() == STRATEGIES.keys()


def test_the_reported_shares_end_at_the_goal() -> None:
    assert {name: shares_of(name)[-1] for name in RECORDED} == {name: RECORDED[name].settings.goal for name in RECORDED}


def test_the_fewest_trainings_by_hand() -> None:
    """Three networks in a box of 8 ms x 8 %: areas 4 x 1, 2 x 4 and 1 x 7 on a linear axis."""
    table = Table(
        name="three",
        options={},
        choices=np.zeros((5, 0), dtype=np.int64),
        row_choices=np.zeros((5, 0), dtype=np.int64),
        row_networks=np.arange(5),
        descriptors=np.arange(5.0)[:, None],
        descriptor_names=("size",),
        latency=np.array([4.0, 6.0, 7.0, 8.0, 8.0]),
        errors=np.array([[7.0], [4.0], [1.0], [8.0], [8.0]]),
        costs=np.array([1.0]),
    )
    replay = next(
        found
        for seed in range(100)
        if {0, 1, 2} < set((found := Replay(table, seed, budget=9.0, axis="linear")).networks.tolist())
        and found.box.max_latency_ms == found.box.max_error == 8
    )
    full = 4 * 1 + 2 * 3 + 1 * 3
    assert best_shares(replay) == pytest.approx([2 * 4 / full, (2 * 4 + 1 * 3) / full, 1.0])
    assert [fewest(replay, share) for share in (0.6, 0.8, 0.99)] == [1, 2, 3]
