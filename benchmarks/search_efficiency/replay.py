"""A recorded table in place of training: what a strategy trains is looked up, charged, and held against the true front.

Costs are in full trainings: RUNGS[-1] epochs are 1, epoch e ends at e / RUNGS[-1]. Latencies, parameters and MACs are
free. A network's error is that of the training that a search sees, at the rung to which it was trained.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.threshbench.table import RUNGS, SPACE, Entry, Table
from search.pareto import hypervolume, non_dominated
from space import decode

TOP = len(RUNGS) - 1
GOAL = 0.99  # share of the true front's hypervolume at which a replay ends
LIMIT = 2000  # proposals after which it ends anyway
MARGIN = 0.1  # by which the reference point lies beyond the true front's nadir, of the front's range on each axis
DIGITS = 9  # decimals of a share: fewer than what machines agree on


@dataclass(frozen=True)
class Target:
    """What is to be found in a table."""

    # (latency in ms, error at the top rung in percent) of each entry, (n, 2).
    points: NDArray[np.float64]
    # Entries on the true front, fastest first; one of each group of equal points.
    front: tuple[int, ...]
    # Latency in ms and error in percent beyond which nothing counts.
    reference: tuple[float, float]
    # Hypervolume of the true front, ms x percent.
    volume: float


@dataclass(frozen=True)
class Proposal:
    """One thing that a strategy had trained."""

    index: int  # of the entry
    rung: int
    repeated: bool  # whether the entry had been trained that far before


@dataclass(frozen=True)
class Point:
    """Where a replay stands after a proposal."""

    # Cost so far, full trainings, where a repeat is free, and where it is paid again from scratch.
    cached: float
    charged: float
    # Hypervolume of what was trained to the top rung, of the true front's.
    share: float


def target(table: Table) -> Target:
    """The true front of a table; ValueError where it is a single point, which spans no hypervolume."""
    points = np.array([(entry.latency_ms, entry.errors[TOP]) for entry in table.entries])
    _, first = np.unique(points, axis=0, return_index=True)
    distinct = np.sort(first)
    front = distinct[non_dominated(points[distinct])]
    front = front[np.argsort(points[front, 0])]
    best, nadir = points[front].min(axis=0), points[front].max(axis=0)
    if (best == nadir).any():
        raise ValueError("the table's front is a single point")
    right, top = (float(value) for value in nadir + MARGIN * (nadir - best))
    return Target(points, tuple(front.tolist()), (right, top), hypervolume(points[front], (right, top)))


class Replay:
    """A search on a recorded table: it trains by looking up, and keeps the account."""

    def __init__(self, table: Table, limit: int = LIMIT, goal: float = GOAL) -> None:
        self.table = table
        self.target = target(table)
        self.limit, self.goal = limit, goal
        self.proposals: list[Proposal] = []
        self.curve: list[Point] = [Point(0.0, 0.0, 0.0)]
        self._reached: dict[int, int] = {}  # the highest rung of each entry that was trained
        self._index = {entry.spec.fingerprint(): index for index, entry in enumerate(table.entries)}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The networks of the table."""
        return self.table.entries

    @property
    def share(self) -> float:
        """Hypervolume of the networks trained to the top rung, of the true front's, 0 to 1."""
        return self.curve[-1].share

    @property
    def open(self) -> bool:
        """Whether the search may go on: the goal is not reached and the limit of proposals neither."""
        return self.share < self.goal and len(self.proposals) < self.limit

    def index_of(self, params: Mapping[str, int]) -> int:
        """The entry of a trial's parameters; KeyError where the table has no such network."""
        return self._index[decode(SPACE, params).fingerprint()]

    def rung(self, index: int) -> int:
        """The highest rung to which an entry was trained, -1 for none."""
        return self._reached.get(index, -1)

    def train(self, index: int, rung: int) -> tuple[float, ...]:
        """Validation errors, percent, of an entry at the rungs up to `rung`; goes on from where its training stands.

        ValueError for a rung that the table has not.
        """
        if not 0 <= rung <= TOP:
            raise ValueError(f"rung {rung}: the table has 0 to {TOP}")
        before, now = self.rung(index), self.curve[-1]
        repeated = rung <= before
        if repeated:
            step, again = 0.0, cost(rung)
        else:
            step = again = cost(rung) - cost(before)
            self._reached[index] = rung
        self.proposals.append(Proposal(index, rung, repeated))
        share = self._share() if rung == TOP and not repeated else now.share
        self.curve.append(Point(now.cached + step, now.charged + again, share))
        return self.entries[index].errors[: rung + 1]

    def _share(self) -> float:
        trained = [index for index, rung in self._reached.items() if rung == TOP]
        found = hypervolume(self.target.points[trained], self.target.reference)
        return round(found / self.target.volume, DIGITS)


def cost(rung: int) -> float:
    """Image passes of a training from scratch up to a rung (-1: none), in full trainings."""
    return RUNGS[rung] / RUNGS[TOP] if rung >= 0 else 0.0


def growth(curve: list[Point]) -> list[Point]:
    """The points of a curve at which the share grows, and its end."""
    return [after for before, after in pairwise(curve) if after.share > before.share or after is curve[-1]]


def best_shares(table: Table) -> list[float]:
    """The largest share that 1, 2, ... networks can have, up to the whole front.

    Exact, by dynamic programming over the front sorted by latency: the area up to a chosen network depends on those
    chosen before it by the last one only (Bringmann et al., 2014, "Two-dimensional subset selection for hypervolume and
    epsilon-indicator"; here in O(k n^2)).
    """
    goal = target(table)
    x, y = goal.points[list(goal.front)].T
    right, top = goal.reference
    # step[i, j]: area between network i and the next chosen one, j, at the height of i.
    step = np.where(np.subtract.outer(x, x) < 0, (x[None, :] - x[:, None]) * (top - y[:, None]), -np.inf)
    last = (right - x) * (top - y)
    area = np.zeros(len(x))  # the largest up to each network, were it the last one chosen
    shares = []
    for _ in goal.front:
        shares.append(float((area + last).max() / goal.volume))
        area = (area[:, None] + step).max(axis=0)
    return shares


def oracle(table: Table, share: float) -> int:
    """The fewest networks, each a full training, whose hypervolume reaches a share of the true front's."""
    return next(number for number, best in enumerate(best_shares(table), start=1) if round(best, DIGITS) >= share)


def content_hash(table: Table) -> str:
    """What a search can see of a table, as 16 hexadecimal digits."""
    seen = [(entry.spec.fingerprint(), entry.latency_ms, entry.errors) for entry in table.entries]
    return hashlib.sha256(json.dumps([RUNGS, sorted(seen)]).encode()).hexdigest()[:16]
