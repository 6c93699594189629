"""Multi-objective successive halving: the ranking that decides which networks at a rung are trained further.

After Schmucker et al., 2021, "Multi-objective Asynchronous Successive Halving", with hypervolume contributions as the
order within a rank.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.pareto import contributions, non_dominated
from threshnet.errors import InputError

ETA = 2  # reduction factor: the best 1 / ETA of the networks that reached a rung are promoted
REFERENCE_MARGIN = 0.1  # of the reference point beyond the worst point, as a share of the range


def check_rungs(rungs: Sequence[int], epochs: int) -> None:
    """Check the rungs below the last one; raises InputError unless they increase, from 1 to below `epochs`."""
    whole = all(type(rung) is int for rung in rungs)
    if not whole or any(low >= high for low, high in pairwise((0, *rungs, epochs))):
        raise InputError(f"training.rungs = {list(rungs)}: must be increasing epochs from 1 to below {epochs}")


def order(points: ArrayLike) -> NDArray[np.intp]:
    """Indices of points (n, 2), both columns minimized, best first.

    Points are sorted by non-dominated rank and, within a rank, by their hypervolume contribution.
    """
    values = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if len(values) == 0:
        return np.zeros(0, dtype=np.intp)
    low, high = values.min(axis=0), values.max(axis=0)
    reference = high + REFERENCE_MARGIN * np.where(high > low, high - low, 1)
    left = np.arange(len(values))
    ordered: list[int] = []
    while len(left):
        best = left[non_dominated(values[left])]
        ordered += best[np.argsort(-contributions(values[best], reference), kind="stable")].tolist()
        left = np.setdiff1d(left, best)
    return np.asarray(ordered, dtype=np.intp)


def promoted(points: ArrayLike, eta: int = ETA) -> list[int]:
    """Indices of the best 1 / `eta` of the points (n, 2), rounded up, best first."""
    ordered = order(points)
    return [int(index) for index in ordered[: -(-len(ordered) // eta)]]
