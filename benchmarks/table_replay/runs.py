"""Runs of strategies on a table, in two worker processes, and the JSON line of each run."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from threadpoolctl import threadpool_limits

from benchmarks.table_replay.replay import Replay
from benchmarks.table_replay.strategies import STRATEGIES, Strategy
from benchmarks.table_replay.table import Table
from benchmarks.workers import pool
from search.box import Axis
from studies.json_lines import append, read_lines

SHARES = (50, 60, 70, 80, 90, 95, 99)  # percent of the front's hypervolume


@dataclass(frozen=True)
class Settings:
    """The settings of a replay, the same for all strategies."""

    budget: float
    axis: Axis = "log"
    # Upper edge of the box in percent; None means the largest error at the end of training.
    max_error: float | None = None
    # Percent of the front's hypervolume at which a run ends.
    goal: int = SHARES[-1]


@dataclass(frozen=True)
class Run:
    """One strategy's search with one seed."""

    strategy: str
    seed: int
    # Cost at which each share of SHARES was reached, in full trainings; None if the budget was spent first.
    costs: dict[str, float | None]
    # Cost and share after each training to the end.
    curve: tuple[tuple[float, float], ...]
    # Number of networks trained to each rung, the end last, and of latencies read.
    trained: tuple[int, ...]
    readings: int
    # Cost at the end of the run.
    spent: float
    # Wall-clock time in seconds. Other work was running on the machine.
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Convert the run to a line of a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Run":
        """Restore a run from a line of a file."""
        curve = tuple((float(cost), float(share)) for cost, share in line["curve"])
        return cls(**line | {"curve": curve, "trained": tuple(line["trained"])})


def run_one(table: Table, settings: Settings, strategy: str, seed: int) -> Run:
    """Search a table with one strategy and one seed."""
    replay = Replay(
        table,
        seed,
        budget=settings.budget,
        axis=settings.axis,
        max_error=settings.max_error,
        goal=settings.goal / 100,
    )
    return played(replay, strategy, seed, STRATEGIES[strategy], settings.goal)


def played(replay: Replay, strategy: str, seed: int, search: Strategy, goal: int = SHARES[-1]) -> Run:
    """Search a replay and return the run of this strategy; `goal` is in percent of the front's hypervolume."""
    start = time.perf_counter()
    search(replay, seed)
    return Run(
        strategy=strategy,
        seed=seed,
        costs={str(share): replay.cost_of(share / 100) for share in SHARES if share <= goal},
        curve=tuple((step.cost, step.share) for step in replay.curve),
        trained=tuple(len(replay.trained(rung)) for rung in range(replay.top + 1)),
        readings=len(replay.latency),
        spent=round(replay.cost, 4),
        seconds=round(time.perf_counter() - start, 1),
    )


_given: tuple[Table, Settings]  # of this worker process, set by `initialise`


def initialise(table: Table, settings: Settings) -> None:
    """Initialise a worker process with one thread and without log messages."""
    global _given
    torch.set_num_threads(1)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _given = table, settings


def run_in_worker(strategy: str, seed: int) -> Run:
    """Search the worker's table with one strategy and one seed."""
    return run_one(*_given, strategy, seed)


def run_all(table: Table, settings: Settings, todo: Sequence[tuple[str, int]]) -> Iterator[Run]:
    """Run these (strategy, seed) pairs in parallel and yield each run when it finishes."""
    with pool(initialise, table, settings) as workers:
        try:
            for future in as_completed([workers.submit(run_in_worker, strategy, seed) for strategy, seed in todo]):
                yield future.result()
        finally:
            workers.shutdown(cancel_futures=True)


def stored_in(file: Path) -> dict[tuple[str, int], Run]:
    """Return the runs in a file by strategy and seed."""
    return {(run.strategy, run.seed): run for run in map(Run.from_json, read_lines(file))}


def reported(runs: Iterable[Run], number: int, store: Path | None, label: str = "") -> Iterator[Run]:
    """Yield runs as they finish. Each is appended to the file `store` and reported on standard error."""
    start = time.monotonic()
    for done, run in enumerate(runs, start=1):
        if store:
            append(store, run.to_json())
        left = (time.monotonic() - start) / done * (number - done) / 60
        sys.stderr.write(f"{label}{done} of {number}: {run_text(run)}; {left:.0f} minutes left\n")
        yield run


def run_text(run: Run) -> str:
    """One-line summary of a run."""
    share = run.curve[-1][1] if run.curve else 0.0
    return f"{run.strategy}, seed {run.seed}: {share:.1%} for {run.spent:g}, {run.seconds:.0f} s"
