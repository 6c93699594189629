"""The referee: looks up readings and trainings, adds up their cost, and knows the true front.

The unit of cost is one full training. A latency is unknown until it is read, which costs READING once. Training a
network reads its latency first. A repeated reading or training is free, since a real study would look it up as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_replay.table import Table
from search.box import Axis, Box
from threshnet.errors import InputError

READING = 0.01  # cost of reading a latency, in full trainings
SUBSET = 0.8  # share of the networks that a seed searches
STARTS = 3  # number of random networks that every strategy trains first
GOAL = 0.99  # a replay ends when it reaches this share of the hypervolume of the true front
DIGITS = 9  # a share is rounded to this many decimals, as further decimals differ between machines


@dataclass(frozen=True)
class Step:
    """The state of a replay after a training to the end."""

    # Cost so far in full trainings.
    cost: float
    # Hypervolume of the fully trained networks, relative to that of the true front.
    share: float


class Replay:
    """A random part of a table that a strategy searches, the same for all strategies with this seed.

    `networks`, indices of the table, and `starts`, some of them, replace the random ones. Raises InputError if no
    network is inside the box.
    """

    def __init__(
        self,
        table: Table,
        seed: int,
        *,
        budget: float,
        axis: Axis = "log",
        max_error: float | None = None,
        goal: float = GOAL,
        networks: NDArray[np.int64] | None = None,
        starts: Sequence[int] | None = None,
    ) -> None:
        self.table, self.budget, self.goal = table, budget, goal
        order = np.random.default_rng(seed).permutation(len(table))
        # Networks of this seed, as indices of the table.
        chosen = order[: max(STARTS, round(SUBSET * len(table)))] if networks is None else networks
        self.networks = np.sort(chosen)
        self.starts = tuple(int(start) for start in (order[:STARTS] if starts is None else starts))
        final, latency = table.errors[self.networks, -1], table.latency[self.networks]
        highest = float(final.max()) if max_error is None else max_error
        inside = final < highest
        fastest = float(latency[inside].min()) if inside.any() else float(latency.min())
        self.box = Box(float(latency.max()), highest, 0.0 if axis == "linear" else fastest, axis)
        self.full = self.box.hypervolume(np.column_stack([latency, final]))
        if not self.full > 0:
            limits = f"a latency below {self.box.max_latency_ms:g} and an error below {self.box.max_error:g} %"
            raise InputError(f"{table.name}, seed {seed}: no network has {limits}")
        self.cost = 0.0
        self.latency: dict[int, float] = {}
        # Rungs to which each network was trained, and their errors in percent.
        self.errors: dict[int, dict[int, float]] = {}
        self.curve: list[Step] = []
        self._member = np.zeros(len(table), dtype=bool)
        self._member[self.networks] = True

    @property
    def top(self) -> int:
        """The rung at the end of training."""
        return len(self.table.costs) - 1

    @property
    def share(self) -> float:
        """Hypervolume of the fully trained networks, relative to that of the true front, from 0 to 1."""
        return self.curve[-1].share if self.curve else 0.0

    @property
    def open(self) -> bool:
        """True until the replay reaches the goal or has spent its budget."""
        return self.share < self.goal and self.cost < self.budget

    def has(self, network: int) -> bool:
        """Return whether a network of the table belongs to this seed."""
        return bool(self._member[network])

    def read(self, network: int) -> float:
        """Return the latency of a network in ms."""
        if not self.has(network):
            raise ValueError(f"network {network} does not belong to this seed")
        if network not in self.latency:
            self.cost += READING
            self.latency[network] = float(self.table.latency[network])
        return self.latency[network]

    def train(self, network: int, rung: int) -> float:
        """Train a network to a rung and return its error there, in percent.

        If the table resumes trainings, the errors at all earlier rungs become known as well.
        """
        self.read(network)
        known = self.errors.setdefault(network, {})
        if rung in known:
            return known[rung]
        costs, errors = self.table.costs, self.table.errors[network]
        paid = max((costs[each] for each in known), default=0.0) if self.table.resumes else 0.0
        self.cost += max(0.0, float(costs[rung] - paid))
        known.update({each: float(errors[each]) for each in (range(rung + 1) if self.table.resumes else (rung,))})
        if rung == self.top:
            self.curve.append(Step(round(self.cost, DIGITS), self._share()))
        return known[rung]

    def trained(self, rung: int) -> list[int]:
        """Return the networks that were trained to a rung, in the order in which they were first trained."""
        return [network for network, errors in self.errors.items() if rung in errors]

    def cost_of(self, share: float) -> float | None:
        """Return the cost at which the replay reached a share of the front, or None if it did not."""
        return next((step.cost for step in self.curve if step.share >= share), None)

    def _share(self) -> float:
        trained = np.array(self.trained(self.top))
        points = np.column_stack([self.table.latency[trained], self.table.errors[trained, -1]])
        return round(self.box.hypervolume(points) / self.full, DIGITS)
