"""How much front a network promises: expected hypervolume improvement where latency is known and error is not."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from search.pareto import non_dominated

Array = NDArray[np.float64]

QUANTILES = ndtri((np.arange(24) + 0.5) / 24)  # of the standard normal distribution: what errors are tried


def improvements(latency: Array, errors: Array, front: ArrayLike, reference: tuple[float, float]) -> Array:
    """Hypervolume (m, q) that m points of `latency` (m,) would add to the `front` (n, 2) at each of `errors` (m, q).

    Points are (latency, error), both minimised; those beyond `reference` count for nothing.
    """
    right, top = reference
    points = np.asarray(front, dtype=np.float64).reshape(-1, 2)
    points = points[(points[:, 0] < right) & (points[:, 1] < top)]
    points = points[non_dominated(points)]
    points = points[np.argsort(points[:, 0])]
    # The staircase: above [edges[j], edges[j + 1]) everything higher than heights[j] is dominated.
    edges = np.concatenate([[-np.inf], points[:, 0], [right]])
    heights = np.concatenate([[top], points[:, 1]])
    widths = np.maximum(0, edges[None, 1:] - np.maximum(edges[None, :-1], latency[:, None]))
    depths = np.maximum(0, heights[None, None, :] - errors[:, :, None])
    return np.asarray((widths[:, None, :] * depths).sum(axis=2))


def expected_improvements(
    latency: Array, mean: Array, deviation: Array, front: ArrayLike, reference: tuple[float, float]
) -> Array:
    """Expected hypervolume improvement (m,) of points whose error is log-normal: `mean` and `deviation` of its log."""
    errors = np.exp(mean[:, None] + deviation[:, None] * QUANTILES[None, :])
    return np.asarray(improvements(latency, errors, front, reference).mean(axis=1))
