"""Replays of a search on a recorded table. A replay looks up trainings, adds up their cost and knows the true front.

The unit of cost is one full training: RUNGS[-1] epochs cost 1, so e epochs cost e / RUNGS[-1]. Latencies, parameters
and MACs are free. The error of a network is read from its first recorded training at the rung that it has reached.
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
GOAL = 0.99  # a replay ends when it reaches this share of the hypervolume of the true front
LIMIT = 2000  # a replay always ends after this number of proposals
REFERENCE_OFFSET = 0.1  # from the nadir of the true front to the reference point, relative to the front's range
DIGITS = 9  # a share is rounded to this many decimals, as further decimals differ between machines


@dataclass(frozen=True)
class Target:
    """The true front of a table, and the reference point for its hypervolume."""

    # (latency in ms, error at the top rung in percent) of each entry, (n, 2).
    points: NDArray[np.float64]
    # Indices of the entries on the true front, fastest first. Equal points appear once.
    front: tuple[int, ...]
    # Reference point for the hypervolume: latency in ms, error in percent.
    reference: tuple[float, float]
    # Hypervolume of the true front, ms x percent.
    volume: float


@dataclass(frozen=True)
class Proposal:
    """A training that a strategy requested."""

    index: int  # index of the entry
    rung: int
    repeated: bool  # True if the entry was already trained to this rung


@dataclass(frozen=True)
class Point:
    """State of a replay after a proposal."""

    # Cost so far in full trainings: with free repeats, and with repeats charged as training from scratch.
    cached: float
    charged: float
    # Hypervolume of the fully trained networks, relative to the hypervolume of the true front.
    share: float


def target(table: Table) -> Target:
    """Find the true front of a table. Raises ValueError if it is a single point, whose hypervolume would be zero."""
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
    """A recorded table that a strategy searches. It looks up trainings and adds up their cost."""

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
        """Hypervolume of the fully trained networks, relative to the hypervolume of the true front, from 0 to 1."""
        return self.curve[-1].share

    @property
    def open(self) -> bool:
        """True until the replay reaches the goal or the limit of proposals."""
        return self.share < self.goal and len(self.proposals) < self.limit

    def index_of(self, params: Mapping[str, int]) -> int:
        """Return the index of the network with these parameters. Raises KeyError if the table does not contain it."""
        return self._index[decode(SPACE, params).fingerprint()]

    def rung(self, index: int) -> int:
        """Return the highest rung to which an entry was trained, or -1 if it was not trained."""
        return self._reached.get(index, -1)

    def train(self, index: int, rung: int) -> tuple[float, ...]:
        """Train an entry up to a rung and return its validation errors at all rungs so far, in percent.

        Training resumes at the last rung. Raises ValueError if the table does not have the rung.
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
    """Return the cost of training from scratch to a rung, in full trainings. Rung -1 costs nothing."""
    return RUNGS[rung] / RUNGS[TOP] if rung >= 0 else 0.0


def growth(curve: list[Point]) -> list[Point]:
    """Return the points of a curve where the share increases, and the last point."""
    return [after for before, after in pairwise(curve) if after.share > before.share or after is curve[-1]]


def best_shares(table: Table) -> list[float]:
    """Return the largest share that 1, 2, ... networks can reach, up to the size of the true front.

    The result is exact. It uses dynamic programming over the front sorted by latency, since the area that a network
    adds depends only on the previously chosen network (Bringmann et al., 2014, "Two-dimensional subset selection for
    hypervolume and epsilon-indicator"; this implementation takes O(k n^2)).
    """
    goal = target(table)
    x, y = goal.points[list(goal.front)].T
    right, top = goal.reference
    # step[i, j]: area that network i covers up to the next chosen network j.
    step = np.where(np.subtract.outer(x, x) < 0, (x[None, :] - x[:, None]) * (top - y[:, None]), -np.inf)
    last = (right - x) * (top - y)
    area = np.zeros(len(x))  # largest area to the left of each network if it is the last one chosen
    shares = []
    for _ in goal.front:
        shares.append(float((area + last).max() / goal.volume))
        area = (area[:, None] + step).max(axis=0)
    return shares


def oracle(table: Table, share: float) -> int:
    """Return the minimum number of fully trained networks needed to reach a share of the true front's hypervolume."""
    return next(number for number, best in enumerate(best_shares(table), start=1) if round(best, DIGITS) >= share)


def content_hash(table: Table) -> str:
    """Hash everything in a table that affects a search. Returns 16 hexadecimal digits."""
    visible = [(entry.spec.fingerprint(), entry.latency_ms, entry.errors) for entry in table.entries]
    return hashlib.sha256(json.dumps([RUNGS, sorted(visible)]).encode()).hexdigest()[:16]
