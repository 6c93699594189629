"""Run replays in two worker processes and store one JSON line for each (strategy, seed) of a table."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from threadpoolctl import threadpool_limits

from benchmarks.json_lines import read_lines
from benchmarks.report import installed
from benchmarks.search_efficiency.replay import Replay, content_hash, growth
from benchmarks.search_efficiency.strategies import STRATEGIES, limit
from benchmarks.threshbench.table import Table
from benchmarks.workers import pool

PACKAGES = ("optuna", "numpy", "torch", "ax-platform", "botorch")
STRATEGY_PACKAGES = {"ax": ("ax-platform", "botorch")}  # packages that only one strategy uses
End = Literal["reached", "limit", "stopped"]
_table: Table  # the table of this worker process, set by `initialise`


@dataclass(frozen=True)
class Run:
    """One strategy's search of one table with one seed."""

    table: str
    table_hash: str
    strategy: str
    seed: int
    # (cost with free repeats, cost with charged repeats, share) at each increase of the share and at the end.
    curve: tuple[tuple[float, float, float], ...]
    proposals: int
    # Number of proposals that were already trained to the same rung.
    repeats: int
    # Why the run ended: the goal was reached, the limit of proposals was reached, or the strategy stopped.
    end: End
    # Wall-clock time of all proposals in seconds. Other work was running on the machine.
    seconds: float
    # Versions of the packages that the strategy uses.
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Convert the run to a line of the file."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Run":
        """Restore a run from a line of the file."""
        return cls(**line | {"curve": tuple(tuple(point) for point in line["curve"])})

    def equivalent(self, other: "Run") -> bool:
        """True if two runs are the same search, ignoring duration and package versions."""
        return replace(self, seconds=other.seconds, versions=other.versions) == other


def run_one(table: Table, strategy: str, seed: int) -> Run:
    """Search a table with one strategy and one seed."""
    replay = Replay(table, limit(strategy))
    start = time.perf_counter()
    STRATEGIES[strategy](replay, seed)
    seconds = time.perf_counter() - start
    end: End = "reached" if replay.share >= replay.goal else "stopped" if replay.open else "limit"
    others = {package for name, packages in STRATEGY_PACKAGES.items() if name != strategy for package in packages}
    return Run(
        table=table.about["table"],
        table_hash=content_hash(table),
        strategy=strategy,
        seed=seed,
        curve=tuple((point.cached, point.charged, point.share) for point in growth(replay.curve)),
        proposals=len(replay.proposals),
        repeats=sum(proposal.repeated for proposal in replay.proposals),
        end=end,
        seconds=round(seconds, 2),
        versions={name: version for name in PACKAGES if name not in others and (version := installed(name))},
    )


def initialise(table: Table) -> None:
    """Initialise a worker process with one thread and without log messages."""
    global _table
    torch.set_num_threads(1)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _table = table


def search(strategy: str, seed: int) -> Run:
    """Search the worker's table with one strategy and one seed."""
    return run_one(_table, strategy, seed)


def run_all(table: Table, todo: Sequence[tuple[str, int]]) -> Iterator[Run]:
    """Run these (strategy, seed) pairs in parallel and yield each run when it finishes."""
    with pool(initialise, table) as workers:
        try:
            for future in as_completed([workers.submit(search, strategy, seed) for strategy, seed in todo]):
                yield future.result()
        finally:
            workers.shutdown(cancel_futures=True)


def read_runs(file: Path, table: Table) -> dict[tuple[str, int], Run]:
    """Read the runs in a file by (strategy, seed). Runs on a table with different content are ignored."""
    runs, content = [Run.from_json(line) for line in read_lines(file)], content_hash(table)
    return {(run.strategy, run.seed): run for run in runs if run.table_hash == content}


def write_runs(file: Path, runs: dict[tuple[str, int], Run]) -> None:
    """Replace the file with these runs, in sorted order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(run.to_json()) + "\n" for _, run in sorted(runs.items())))
