"""The index of a network: its expected improvement per cost under the best plan of inspections.

A plan reads the latency, then trains to a rung, then to the end, and stops at either point if the outcome makes the
rest not worth its cost. The index is the highest ratio of expected improvement to expected cost of such a plan. It is
the ratio form of Weitzman's index (1979, "Optimal Search for the Best Alternative"), computed with Dinkelbach's
algorithm (1967, "On nonlinear fractional programming").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITERATIONS = 12  # of Dinkelbach's algorithm, which converges faster than linearly


@dataclass(frozen=True)
class Plan:
    """One way to train n networks after their latency is known."""

    # Cost of the training that comes first, (n,), and of the one that follows if its score is good.
    first: Array
    rest: float
    # Improvement for q latencies and z scores of each network, (n, q, z). All are equally likely.
    gains: Array


def indices(reading: Array, plans: Sequence[Plan]) -> tuple[Array, NDArray[np.intp]]:
    """Return the index (n,) of n networks, and the plan (n,) that is best at the first latency.

    `reading` (n,) is the cost of reading the latency; 0 if it is known.
    """
    n = len(reading)
    ratio, chosen = np.zeros(n), np.zeros(n, dtype=np.intp)
    for _ in range(ITERATIONS):
        surplus, gain, cost = [], [], []
        for plan in plans:
            worth = plan.gains > (ratio * plan.rest)[:, None, None]
            gain.append((plan.gains * worth).mean(axis=2))
            cost.append(plan.first[:, None] + plan.rest * worth.mean(axis=2))
            surplus.append(gain[-1] - ratio[:, None] * cost[-1])
        best = np.argmax(surplus, axis=0)
        trains = np.max(surplus, axis=0) > 0
        expected_gain = (np.choose(best, gain) * trains).mean(axis=1)
        expected_cost = reading + (np.choose(best, cost) * trains).mean(axis=1)
        new = np.divide(expected_gain, expected_cost, out=np.zeros(n), where=expected_cost > 0)
        better = new > ratio
        if not better.any():
            break
        ratio, chosen = np.where(better, new, ratio), np.where(better, best[:, 0], chosen)
    return ratio, chosen
