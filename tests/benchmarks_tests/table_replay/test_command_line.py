"""The command line of the replays: tables and JSON lines, stored runs, and bad input."""

import gzip
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pytest
from benchmarks_tests.made_up_tables import chosen_table, csv_of, table_of

from benchmarks.table_replay import __main__ as program
from benchmarks.table_replay import runs as replay_runs
from benchmarks.table_replay.replay import Replay
from benchmarks.table_replay.runs import SHARES, Run, Settings, run_all, run_one
from benchmarks.table_replay.strategies import default
from benchmarks.table_replay.table import Table

Replayed = list[tuple[str, int]]

COLUMNS = ("--latency", "ms", "--error", "err", "--descriptors", "macs")
RUNG = ("--rung", "err1:0.2")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A CSV file of twelve networks, with a column that holds no numbers."""
    rng = np.random.default_rng(0)
    rows = [
        f"network {n},{10 + n},{1 + n + rng.uniform():.3f},{80 - 5 * n + rng.normal():.3f},{70 - 5 * n:.3f}"
        for n in range(12)
    ]
    return csv_of(tmp_path, "about,macs,ms,err1,err", *rows)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Replayed:
    """The (strategy, seed) pairs that were replayed, in this process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    done: Replayed = []

    def run_all(table: Table, settings: Settings, todo: Sequence[tuple[str, int]]) -> list[Run]:
        done.extend(todo)
        return [run_one(table, settings, strategy, seed) for strategy, seed in todo]

    monkeypatch.setattr(program, "run_all", run_all)
    return done


def lines_of(text: str) -> list[Run]:
    return [Run.from_json(json.loads(line)) for line in text.splitlines()]


# Runs


def test_a_run_has_the_costs_and_counts_of_its_replay() -> None:
    settings = Settings(budget=1e6, axis="linear", goal=90)
    run = run_one(chosen_table(resumes=True), settings, "mo_asha", 4)
    replay = Replay(chosen_table(resumes=True), 4, budget=1e6, axis="linear", goal=0.9)
    assert (run.strategy, run.seed) == ("mo_asha", 4)
    assert list(run.costs) == [str(share) for share in SHARES if share <= 90]
    assert run.costs["90"] == run.curve[-1][0] == pytest.approx(run.spent)
    assert run.costs["50"] == next(cost for cost, share in run.curve if share >= 0.5)
    assert run.curve[-1][1] >= 0.9 > run.curve[-2][1]
    assert run.trained[0] >= run.trained[1] == len(run.curve)
    assert run.trained[0] <= run.readings <= len(replay.networks)


def test_a_share_that_is_not_reached_has_no_cost() -> None:
    run = run_one(table_of([(1.0 + n, 60.0 - n) for n in range(40)]), Settings(budget=4.0), "random", 0)
    assert run.costs["99"] is None
    assert run.spent >= 4
    assert '"99": null' in json.dumps(run.to_json())


def test_runs_are_made_by_workers_with_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread takes the place of the two processes."""

    def pool(initialise: Callable[..., None], *arguments: object) -> Executor:
        return ThreadPoolExecutor(1, initializer=initialise, initargs=arguments)

    monkeypatch.setattr(replay_runs, "pool", pool)
    monkeypatch.setattr(replay_runs, "threadpool_limits", lambda _: None)
    table, settings, todo = chosen_table(), Settings(budget=5.0), [("random", 0), ("macs_ranks", 1)]
    found = list(run_all(table, settings, todo))
    assert {(run.strategy, run.seed) for run in found} == set(todo)
    for run in found:
        assert run.curve == run_one(table, settings, run.strategy, run.seed).curve


# Output


def test_costs_and_ratios_are_printed(file: Path, replayed: Replayed, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(file), *COLUMNS, *RUNG, "--strategies", "ours, random", "--seeds", "2", "--budget", "50"]
    assert program.main(arguments) == 0
    output = capsys.readouterr()
    assert output.out.startswith("| Strategy | 90 % of the front | 95 % of the front | 99 % of the front | seeds |\n")
    assert "| **freeze-thaw (ours)** | " in output.out
    assert "\n\n- freeze-thaw (ours), 90 %: " in output.out
    assert replayed == [("ours", 0), ("random", 0), ("ours", 1), ("random", 1)]
    progress = output.err.splitlines()
    assert len(progress) == 4
    assert progress[0].startswith("1 of 4: ours, seed 0: ")


@pytest.mark.parametrize("goal", [50, 90, 95])
def test_shares_up_to_the_goal_are_printed(
    file: Path, replayed: Replayed, goal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([str(file), *COLUMNS, "--strategies", "random", "--seeds", "1", "--goal", str(goal)]) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert f"| {goal} % of the front |" in header
    assert header.count("%") == {50: 1, 90: 1, 95: 2}[goal]


def test_json_lines_have_the_runs_in_order(file: Path, replayed: Replayed, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(file), *COLUMNS, "--strategies", "random,macs_ranks", "--seeds", "2", "--budget", "4", "--json"]
    assert program.main(arguments) == 0
    found = lines_of(capsys.readouterr().out)
    assert [(run.strategy, run.seed) for run in found] == replayed
    assert any(cost is None for run in found for cost in run.costs.values())
    assert all(run.costs.keys() == {str(share) for share in SHARES} for run in found)


def test_right_censored_costs_are_reported(file: Path, replayed: Replayed, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([str(file), *COLUMNS, "--strategies", "random", "--seeds", "2", "--budget", "2"]) == 0
    assert "not reached (∞ to ∞), 2 censored" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "names"), [(RUNG, default(rungs=True)), ((), default(rungs=False))])
def test_by_default_all_strategies_are_run_that_are_not_slow(
    file: Path, replayed: Replayed, more: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert program.main([str(file), *COLUMNS, *more, "--seeds", "1", "--budget", "4"]) == 0
    assert replayed == [(name, 0) for name in names]


def test_the_columns_of_the_command_line_make_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Table, Settings]] = []

    def run_all(table: Table, settings: Settings, todo: Sequence[tuple[str, int]]) -> list[Run]:
        given.append((table, settings))
        return [run_one(table, Settings(2.0), strategy, seed) for strategy, seed in todo]

    monkeypatch.setattr(program, "run_all", run_all)
    file = tmp_path / "small.csv.gz"
    rows = ["x,y,like,macs,ms,a9,a3,acc", "u,v,0,1,1,0.4,0.2,0.5", "v,u,1,2,2,0.5,0.3,0.7", "u,u,0,9,9,0,0,0"]
    rows += ["v,v,3,4,4,0.7,0.4,0.8", "w,u,4,5,5,0.8,0.5,0.9"]
    file.write_bytes(gzip.compress("\n".join(rows).encode()))
    options = ["--latency", "ms", "--accuracy", "acc", "--rung", "a9:0.9", "--rung", "a3:0.3", "--resume"]
    options += ["--choices", "x, y", "--descriptors", "macs", "--same-as", "like", "--seeds", "1", "--budget", "7"]
    options += ["--box", "linear", "--max-error", "60", "--goal", "80", "--strategies", "random"]
    assert program.main([str(file), *options]) == 0
    ((table, settings),) = given
    assert settings == Settings(7.0, "linear", 60.0, 80)
    assert (table.name, len(table), table.resumes) == ("small", 4, True)
    assert table.costs.tolist() == [0.3, 0.9, 1]  # in increasing order
    assert table.errors[0] == pytest.approx([80, 60, 50])
    assert table.options == {"x": ("u", "v", "w"), "y": ("v", "u")}
    assert table.by_choices[0, 1] == 0


# Stored runs


def test_stored_runs_are_not_repeated(file: Path, replayed: Replayed, capsys: pytest.CaptureFixture[str]) -> None:
    store = file.parent / "runs.jsonl"
    arguments = [str(file), *COLUMNS, "--strategies", "random", "--budget", "9", "--json", "--store", str(store)]
    assert program.main([*arguments, "--seeds", "2"]) == 0
    first, before = capsys.readouterr().out, store.read_text()
    assert lines_of(before) == lines_of(first)
    assert program.main([*arguments, "--seeds", "2"]) == 0
    assert capsys.readouterr().out == first
    assert replayed == [("random", 0), ("random", 1)]
    store.write_text(before[:-20])  # the second run was interrupted while it was stored
    assert program.main([*arguments, "--seeds", "3"]) == 0
    assert replayed[2:] == [("random", 1), ("random", 2)]
    assert [run.seed for run in lines_of(store.read_text())] == [0, 1, 2]
    capsys.readouterr()
    assert program.main([*arguments, "--seeds", "1"]) == 0
    assert capsys.readouterr().out == first.splitlines(keepends=True)[0]


# Bad input


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--strategies", "anneal"], "--strategies anneal: must be among ours, ours_no_rung, "),
        (["--strategies", "random,ours"], "--strategies ours: needs a --rung"),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
        (["--latency", "seconds"], "has no column 'seconds'; its columns are about, macs, ms, err1, err"),
        (["--latency", "about"], "line 2, column 'about': 'network 0' is not a positive number"),
        (["--choices", "about", "--descriptors", "ms,size"], "has no column 'size'"),
        (["--same-as", "macs"], "line 4, column 'macs': '12' is not the number of a row, from 0, that stands for "),
        (["--rung", "err1:0.2", "--rung", "err:0.2"], "--rung: columns and costs must differ"),
        (["--rung", "err1:0.2", "--rung", "err1:0.3"], "--rung: columns and costs must differ"),
        (["--descriptors", ","], "--choices, --descriptors: name at least one column"),
        (["--strategies", "random", "--max-error", "1"], "table, seed 0: no network has a latency below "),
        (["--store", "missing/runs.jsonl"], "--store missing/runs.jsonl: missing is not a folder"),
    ],
)
def test_bad_input_ends_with_one_line(
    file: Path, replayed: Replayed, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([str(file), *COLUMNS, "--seeds", "1", "--budget", "4", *more]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("content", ["x\n", "[1]\n", '{"strategy": "random"}\n', '{"curve": [], "trained": []}\n'])
def test_a_file_without_runs_is_no_store(
    file: Path, replayed: Replayed, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = file.parent / "runs.jsonl"
    store.write_text(content)
    assert program.main([str(file), *COLUMNS, "--store", str(store)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --store {store}: must have a run in each line, as JSON; ")
    assert (replayed, store.read_text()) == ([], content)


def test_a_missing_or_empty_file_ends_with_one_line(
    file: Path, replayed: Replayed, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, message in (("missing.csv", "No such file"), ("empty.csv", "has no rows")):
        (file.parent / "empty.csv").touch()
        assert program.main([str(file.parent / name), *COLUMNS]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {file.parent / name}: ")
        assert message in line


def test_botorch_must_be_installed_for_its_strategy(
    file: Path, replayed: Replayed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "find_spec", lambda _: None)
    assert program.main([str(file), *COLUMNS, "--strategies", "gp"]) == 2
    assert "error: --strategies gp: needs the package botorch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--rung", "err1"], "--rung: 'err1': must be COLUMN:COST with a cost between 0 and 1 full training"),
        (["--rung", "err1:1"], "--rung: 'err1:1': must be COLUMN:COST"),
        (["--rung", ":0.5"], "--rung: ':0.5': must be COLUMN:COST"),
        (["--budget", "0"], "--budget: '0': must be a positive number"),
        (["--budget", "inf"], "--budget: 'inf': must be a positive number"),
        (["--max-error", "high"], "--max-error: 'high': must be a positive number"),
        (["--goal", "97"], "--goal: invalid choice: "),
        (["--seeds", "many"], "--seeds: invalid int value: 'many'"),
        (["--accuracy", "err"], "--accuracy: not allowed with argument --error"),
        (["--box", "square"], "--box: invalid choice: 'square'"),
    ],
)
def test_bad_options_are_named(file: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        program.main([str(file), *COLUMNS, *more])
    assert end.value.code == 2
    assert f"error: argument {message}" in capsys.readouterr().err.splitlines()[-1]


def test_a_rung_is_a_column_and_a_cost() -> None:
    assert program.rung("err:1:0.25") == ("err:1", 0.25)
    assert program.columns(" a, b ,,c") == ("a", "b", "c")
