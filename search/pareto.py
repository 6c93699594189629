"""Pareto operations on arrays of points (n, 2); both columns are minimized."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask (n,) of the points that no other point dominates; equal points get the same value."""
    values = _points(points)
    mask = np.zeros(len(values), dtype=bool)
    best = np.inf
    order = np.lexsort((values[:, 1], values[:, 0]))
    last = (np.nan, np.nan)
    for index in order:
        x, y = values[index]
        if y < best or (x, y) == last:
            mask[index] = True
            best, last = y, (x, y)
    return mask


def dominators(points: ArrayLike, point: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of the points that dominate `point` (2,): nowhere worse, somewhere better."""
    values, target = _points(points), np.asarray(point, dtype=np.float64)
    return np.flatnonzero((values <= target).all(axis=1) & (values < target).any(axis=1))


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the area that the points dominate relative to `reference` (2,); points beyond it contribute nothing."""
    values, (right, top) = _points(points), np.asarray(reference, dtype=np.float64)
    values = values[(values[:, 0] < right) & (values[:, 1] < top)]
    front = values[non_dominated(values)]
    front = front[np.argsort(front[:, 0])]
    edges = np.append(front[1:, 0], right)
    return float(((edges - front[:, 0]) * (top - front[:, 1])).sum())


def contributions(front: ArrayLike, reference: ArrayLike) -> Points:
    """Return the hypervolume contribution (n,) of each point and its duplicates, relative to `reference` (2,).

    No point may dominate another point or lie beyond the reference point.
    """
    (right, top) = np.asarray(reference, dtype=np.float64)
    values, place = np.unique(
        _points(front), axis=0, return_inverse=True
    )  # sorted by the first column, so the heights decrease
    widths = np.append(values[1:, 0], right) - values[:, 0]
    heights = np.append(top, values[:-1, 1]) - values[:, 1]
    return np.asarray((widths * heights)[place.ravel()])


def knee(points: ArrayLike) -> int:
    """Return the index of the knee: the point of the front that is farthest below the line between its two ends.

    Both axes are first scaled to the range of the front (Das, 1999, "On characterizing the knee of the Pareto curve").
    If the front has one or two points, the knee is the point with the smaller first coordinate. Raises ValueError if
    there are no points.
    """
    values = _points(points)
    if len(values) == 0:
        raise ValueError("no points, so no knee")
    front = np.flatnonzero(non_dominated(values))
    front = front[np.argsort(values[front, 0], kind="stable")]
    low, high = values[front].min(axis=0), values[front].max(axis=0)
    scaled = (values[front] - low) / np.where(high > low, high - low, 1)
    # The line goes from (0, 1) to (1, 0). A point (x, y) is 1 - x - y below the line, up to a constant factor.
    return int(front[np.argmax(1 - scaled.sum(axis=1))])


def _points(points: ArrayLike) -> Points:
    values = np.asarray(points, dtype=np.float64)
    return values.reshape(-1, 2)
