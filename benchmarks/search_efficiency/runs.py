"""Replays made and kept: one JSON line for each (strategy, seed) of a table, made once, in two worker processes."""

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

from benchmarks.json_lines import lines_of
from benchmarks.report import installed
from benchmarks.search_efficiency.replay import Replay, content_hash, growth
from benchmarks.search_efficiency.strategies import STRATEGIES, limit
from benchmarks.threshbench.table import Table
from benchmarks.workers import pool

PACKAGES = ("optuna", "numpy", "torch", "ax-platform", "botorch")
ALONE = {"ax": ("ax-platform", "botorch")}  # packages of one strategy only
End = Literal["reached", "limit", "stopped"]
_table: Table  # of a worker process, set once by `begin`


@dataclass(frozen=True)
class Run:
    """One strategy's search of one table with one seed."""

    table: str
    table_hash: str
    strategy: str
    seed: int
    # (cost where repeats are free, cost where they are paid, share) wherever the share grew, and at the end.
    curve: tuple[tuple[float, float, float], ...]
    proposals: int
    # Proposals of what had been trained that far before.
    repeats: int
    # How it ended: the goal was reached, the limit of proposals was, or the strategy itself stopped.
    end: End
    # Wall-clock of all its proposals, other work beside it.
    seconds: float
    # Versions of the packages it was made with.
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The run as a line of the file has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Run":
        """The run of a line."""
        return cls(**line | {"curve": tuple(tuple(point) for point in line["curve"])})

    def same(self, other: "Run") -> bool:
        """Whether two runs are one and the same search, whatever time it took and whatever it was made with."""
        return replace(self, seconds=other.seconds, versions=other.versions) == other


def searched(table: Table, strategy: str, seed: int) -> Run:
    """One strategy's search of a table."""
    replay = Replay(table, limit(strategy))
    began = time.perf_counter()
    STRATEGIES[strategy](replay, seed)
    seconds = time.perf_counter() - began
    end: End = "reached" if replay.share >= replay.goal else "stopped" if replay.open else "limit"
    others = {package for name, packages in ALONE.items() if name != strategy for package in packages}
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
        versions={name: found for name in PACKAGES if name not in others and (found := installed(name))},
    )


def begin(table: Table) -> None:
    """Prepare a worker process: one thread, no messages."""
    global _table
    torch.set_num_threads(1)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _table = table


def search(strategy: str, seed: int) -> Run:
    """One strategy's search of the worker's table."""
    return searched(_table, strategy, seed)


def made(table: Table, todo: Sequence[tuple[str, int]]) -> Iterator[Run]:
    """The runs of these strategies and seeds, as they end."""
    with pool(begin, table) as workers:
        try:
            for future in as_completed([workers.submit(search, strategy, seed) for strategy, seed in todo]):
                yield future.result()
        finally:
            workers.shutdown(cancel_futures=True)


def kept(file: Path, table: Table) -> dict[tuple[str, int], Run]:
    """The runs of a file by strategy and seed, without those of a table of other content."""
    runs, content = [Run.from_json(line) for line in lines_of(file)], content_hash(table)
    return {(run.strategy, run.seed): run for run in runs if run.table_hash == content}


def write(file: Path, runs: dict[tuple[str, int], Run]) -> None:
    """Write runs in order, in place of whatever the file had."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(run.to_json()) + "\n" for _, run in sorted(runs.items())))
