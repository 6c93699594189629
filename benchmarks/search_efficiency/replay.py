"""Replay of a search on a recorded table: trainings are looked up, charged, and compared with the true front.

Costs are in full trainings: RUNGS[-1] epochs cost 1, so e epochs cost e / RUNGS[-1]. Latencies, parameters and MACs are
free. The error of a network is that of its first recorded training, at the rung to which it was trained.
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
LIMIT = 2000  # proposals after which a replay ends in any case
REFERENCE_OFFSET = 0.1  # distance of the reference point from the true front's nadir, relative to the front's range
DIGITS = 9  # decimals of a share; further ones differ between machines


@dataclass(frozen=True)
class Target:
    """The true front of a table, and the reference point for its hypervolume."""

    # (latency in ms, error at the top rung in percent) of each entry, (n, 2).
    points: NDArray[np.float64]
    # Entries on the true front, fastest first; equal points appear once.
    front: tuple[int, ...]
    # Reference point of the hypervolume: latency in ms, error in percent.
    reference: tuple[float, float]
    # Hypervolume of the true front, ms x percent.
    volume: float


@dataclass(frozen=True)
class Proposal:
    """A training that a strategy requested."""

    index: int  # of the entry
    rung: int
    repeated: bool  # True if the entry was already trained to this rung


@dataclass(frozen=True)
class Point:
    """State of a replay after a proposal."""

    # Cost so far, full trainings: with free repeats, and with repeats charged as training from scratch.
    cached: float
    charged: float
    # Hypervolume of the fully trained networks, relative to that of the true front.
    share: float


def target(table: Table) -> Target:
    """The true front of a table; raises ValueError if it is a single point, whose hypervolume is zero."""
    points = np.array([(entry.latency_ms, entry.errors[TOP]) for entry in table.entries])
    _, first = np.unique(points, axis=0, return_index=True)
    distinct = np.sort(first)
    front = distinct[non_dominated(points[distinct])]
    front = front[np.argsort(points[front, 0])]
    best, nadir = points[front].min(axis=0), points[front].max(axis=0)
    if (best == nadir).any():
        raise ValueError("the table's front is a single point")
    right, top = (float(value) for value in nadir + REFERENCE_OFFSET * (nadir - best))
    return Target(points, tuple(front.tolist()), (right, top), hypervolume(points[front], (right, top)))


class Replay:
    """A recorded table that a strategy searches: looks up trainings and adds up their costs."""

    def __init__(self, table: Table, limit: int = LIMIT, goal: float = GOAL) -> None:
        self.table = table
        self.target = target(table)
        self.limit, self.goal = limit, goal
        self.proposals: list[Proposal] = []
        self.curve: list[Point] = [Point(0.0, 0.0, 0.0)]
        self._reached: dict[int, int] = {}  # highest rung of each trained entry
        self._index = {entry.spec.fingerprint(): index for index, entry in enumerate(table.entries)}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The networks of the table."""
        return self.table.entries

    @property
    def share(self) -> float:
        """Hypervolume of the fully trained networks, relative to that of the true front, 0 to 1."""
        return self.curve[-1].share

    @property
    def open(self) -> bool:
        """True while neither the goal nor the limit of proposals is reached."""
        return self.share < self.goal and len(self.proposals) < self.limit

    def index_of(self, params: Mapping[str, int]) -> int:
        """The entry with a trial's parameters; raises KeyError if the table does not contain the network."""
        return self._index[decode(SPACE, params).fingerprint()]

    def rung(self, index: int) -> int:
        """The highest rung to which an entry was trained, or -1."""
        return self._reached.get(index, -1)

    def train(self, index: int, rung: int) -> tuple[float, ...]:
        """Train an entry to a rung, resuming its training: validation errors at the rungs so far, percent.

        Raises ValueError for a rung that the table does not have.
        """
        if not 0 <= rung <= TOP:
            raise ValueError(f"rung {rung}: the table has 0 to {TOP}")
        before, now = self.rung(index), self.curve[-1]
        repeated = rung <= before
        if repeated:
            cached, charged = 0.0, cost(rung)
        else:
            cached = charged = cost(rung) - cost(before)
            self._reached[index] = rung
        self.proposals.append(Proposal(index, rung, repeated))
        share = self._share() if rung == TOP and not repeated else now.share
        self.curve.append(Point(now.cached + cached, now.charged + charged, share))
        return self.entries[index].errors[: rung + 1]

    def _share(self) -> float:
        trained = [index for index, rung in self._reached.items() if rung == TOP]
        volume = hypervolume(self.target.points[trained], self.target.reference)
        return round(volume / self.target.volume, DIGITS)


def cost(rung: int) -> float:
    """Cost of training from scratch to a rung (-1: none), full trainings."""
    return RUNGS[rung] / RUNGS[TOP] if rung >= 0 else 0.0


def growth(curve: list[Point]) -> list[Point]:
    """The points of a curve at which the share increases, and its last point."""
    return [after for before, after in pairwise(curve) if after.share > before.share or after is curve[-1]]


def best_shares(table: Table) -> list[float]:
    """The largest possible share with 1, 2, ... networks, up to the whole front.

    Exact, by dynamic programming over the front sorted by latency: the area that a network adds depends only on the
    last network chosen before it (Bringmann et al., 2014, "Two-dimensional subset selection for hypervolume and
    epsilon-indicator"; here in O(k n^2)).
    """
    goal = target(table)
    x, y = goal.points[list(goal.front)].T
    right, top = goal.reference
    # step[i, j]: area between network i and the next chosen network j, at the height of i.
    step = np.where(np.subtract.outer(x, x) < 0, (x[None, :] - x[:, None]) * (top - y[:, None]), -np.inf)
    last = (right - x) * (top - y)
    area = np.zeros(len(x))  # largest area up to each network if it is the last one chosen
    shares = []
    for _ in goal.front:
        shares.append(float((area + last).max() / goal.volume))
        area = (area[:, None] + step).max(axis=0)
    return shares


def oracle(table: Table, share: float) -> int:
    """The fewest fully trained networks whose hypervolume reaches a share of the true front's."""
    return next(number for number, best in enumerate(best_shares(table), start=1) if round(best, DIGITS) >= share)


def content_hash(table: Table) -> str:
    """A hash of everything in a table that affects a search, 16 hexadecimal digits."""
    visible = [(entry.spec.fingerprint(), entry.latency_ms, entry.errors) for entry in table.entries]
    return hashlib.sha256(json.dumps([RUNGS, sorted(visible)]).encode()).hexdigest()[:16]
