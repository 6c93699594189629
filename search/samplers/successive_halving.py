"""Which trainings are worth going on with, seen from one rung: the rule of multi-objective successive halving.

Schmucker et al., 2021, "Multi-objective Asynchronous Successive Halving", with hypervolume contributions to order the
networks of one rank.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.pareto import contributions, non_dominated
from threshnet.errors import InputError

ETA = 2  # of the networks that reached a rung, the best one in so many goes on
MARGIN = 0.1  # the reference point of contributions lies so far beyond the worst point, as a share of the range


def check_rungs(rungs: Sequence[int], epochs: int) -> None:
    """InputError unless the rungs below the last are whole numbers of epochs, rising, and fewer than `epochs`."""
    whole = all(type(rung) is int for rung in rungs)
    if not whole or any(low >= high for low, high in pairwise((0, *rungs, epochs))):
        raise InputError(f"training.rungs = {list(rungs)}: must be rising numbers of epochs from 1 to below {epochs}")


def order(points: ArrayLike) -> NDArray[np.intp]:
    """Indices of points (n, 2), both columns minimised, the most promising first.

    By non-dominated rank; within a rank by how much hypervolume would be lost without the point.
    """
    values = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if len(values) == 0:
        return np.zeros(0, dtype=np.intp)
    low, high = values.min(axis=0), values.max(axis=0)
    reference = high + MARGIN * np.where(high > low, high - low, 1)
    left = np.arange(len(values))
    ordered: list[int] = []
    while len(left):
        best = left[non_dominated(values[left])]
        ordered += best[np.argsort(-contributions(values[best], reference), kind="stable")].tolist()
        left = np.setdiff1d(left, best)
    return np.asarray(ordered, dtype=np.intp)


def promoted(points: ArrayLike, eta: int = ETA) -> list[int]:
    """Indices of the best of `eta` of these points (n, 2), the most promising first; a point alone is among them."""
    ordered = order(points)
    return [int(index) for index in ordered[: -(-len(ordered) // eta)]]
