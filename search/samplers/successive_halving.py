"""Multi-objective successive halving: ranks the networks at a rung to decide which ones are trained further.

The method follows Schmucker et al., 2021, "Multi-objective Asynchronous Successive Halving". Networks of the same rank
are sorted by their hypervolume contribution.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.pareto import contributions, non_dominated
from threshnet.errors import InputError

ETA = 2  # reduction factor: the best 1 / ETA of the networks that reached a rung are promoted
REFERENCE_MARGIN = 0.1  # distance of the reference point from the worst point, as a share of the range


def check_rungs(rungs: Sequence[int], epochs: int) -> None:
    """Raise InputError unless the rungs are strictly increasing, at least 1 and less than `epochs`."""
    whole = all(type(rung) is int for rung in rungs)
    if not whole or any(low >= high for low, high in pairwise((0, *rungs, epochs))):
        raise InputError(f"training.rungs = {list(rungs)}: must be increasing epochs from 1 to below {epochs}")


def derived_rungs(epochs: int) -> tuple[int, ...]:
    """Return the powers of two below `epochs`, e.g. 1, 2 and 4 for 6 epochs."""
    return tuple(1 << power for power in range((epochs - 1).bit_length()))


def order(points: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of points (n, 2) from best to worst; both columns are minimized.

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
    """Return the indices of the best 1 / `eta` of the points (n, 2), from best to worst; the number is rounded up."""
    ordered = order(points)
    return [int(index) for index in ordered[: -(-len(ordered) // eta)]]
