"""Synthetic tables of recorded trainings: a few networks at given points, or many networks with choices."""

from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.table_replay.table import Table

OPTIONS = ("none", "conv", "pool")


def table_of(
    points: Sequence[tuple[float, float]],
    costs: Sequence[float] = (0.25,),
    *,
    resumes: bool = False,
    sizes: Sequence[float] | None = None,
) -> Table:
    """A table of networks at (latency in ms, final error in percent); each lower rung is 5 points worse.

    There are no choices. The descriptor is the size, or else the latency.
    """
    latency, final = np.array(points, dtype=float).reshape(-1, 2).T
    n, rungs = len(latency), len(costs)
    return Table(
        name="made_up",
        options={},
        choices=np.zeros((n, 0), dtype=np.int64),
        row_choices=np.zeros((n, 0), dtype=np.int64),
        row_networks=np.arange(n),
        descriptors=(latency if sizes is None else np.array(sizes, dtype=float))[:, None],
        descriptor_names=("macs",),
        latency=latency,
        errors=final[:, None] + 5.0 * np.arange(rungs, -1, -1),
        costs=np.array([*costs, 1.0]),
        resumes=resumes,
    )


@cache
def chosen_table(*, resumes: bool = False, choices: bool = True) -> Table:
    """A table of networks with three choices of three options, of which some combinations are missing.

    Convolutions cost most and help most. Two rows stand for another one. Without `choices`, descriptors are the sizes.
    """
    rng = np.random.default_rng(0)
    rows = np.array([row for row in product(range(3), repeat=3) if row[0] or row[1]])
    row_networks = np.arange(len(rows))
    row_networks[[5, 9]] = [4, 8]
    kept, row_networks = np.unique(row_networks, return_inverse=True)
    networks = rows[kept]
    convs, pools = (networks == 1).sum(axis=1), (networks == 2).sum(axis=1)
    final = 70 - 12 * convs - 4 * pools - 3 * networks[:, 0] + rng.normal(0, 1, len(networks))
    return Table(
        name="chosen",
        options=dict.fromkeys(("first", "second", "third"), OPTIONS) if choices else {},
        choices=networks if choices else np.zeros((len(networks), 0), dtype=np.int64),
        row_choices=rows if choices else np.zeros((len(networks), 0), dtype=np.int64),
        row_networks=row_networks if choices else np.arange(len(networks)),
        descriptors=np.column_stack([np.log(1 + 3 * convs + pools), networks[:, 2]]),
        descriptor_names=("macs", "last"),
        latency=(1 + convs + 0.3 * pools) * np.exp(rng.normal(0, 0.05, len(networks))),
        errors=np.column_stack([final + 10 + rng.normal(0, 2, len(networks)), final]),
        costs=np.array([0.2, 1.0]),
        resumes=resumes,
    )


def csv_of(folder: Path, *lines: str, name: str = "table.csv") -> Path:
    """A CSV file with these lines."""
    file = folder / name
    file.write_text("".join(f"{line}\n" for line in lines))
    return file
