"""The expected hypervolume improvement of networks, in closed form.

The log error and the log latency of a network are normal and independent. The improvement is then a sum over the steps
of the front, of the expected width of the network in that step times its expected depth below it (Emmerich, Deutz and
Klinkenberg, 2011, "Hypervolume-based expected improvement: Monotonicity properties and exact computation").
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from search.box import Box
from search.pareto import non_dominated

Array = NDArray[np.float64]

MIN_DEVIATION = 1e-9  # smaller standard deviations are raised to this value
MIN_HEIGHT = 1e-300  # smaller heights are raised to this value, since the log of 0 is undefined


@dataclass(frozen=True)
class Staircase:
    """The front of n networks as a staircase: `heights` (n + 1,) hold from one of the `edges` (n + 1,) to the next.

    Edges are logs of latencies in ms, and the last one is the edge of the box. Heights are errors in percent. To the
    left of edges[0], the height is the upper edge of the box.
    """

    edges: Array
    heights: Array


def staircase(latency: Array, error: Array, box: Box) -> Staircase:
    """Return the staircase of the front of networks with latencies in ms (n,) and errors in percent (n,)."""
    inside = (latency < box.max_latency_ms) & (error < box.max_error)
    points = np.column_stack([latency, error])[inside]
    points = np.unique(points[non_dominated(points)], axis=0)
    edges = np.log([*points[:, 0], box.max_latency_ms])
    return Staircase(edges, np.array([box.max_error, *points[:, 1]]))


def expected_improvement(
    log_latency: tuple[Array, Array], log_error: tuple[Array, Array], front: Staircase, box: Box
) -> Array:
    """Return the expected hypervolume improvement (m,) of m networks, on the axes of the box.

    `log_latency` and `log_error` are means (m,) and standard deviations (m,).
    """
    reach = below_edges(*log_latency, front.edges, box)
    widths = np.diff(reach, axis=1, prepend=0)
    depths = expected_shortfall(*log_error, front.heights)
    return np.asarray((widths * depths).sum(axis=1))


def below_edges(mean: Array, deviation: Array, edges: Array, box: Box) -> Array:
    """Return the expected distance (m, n) by which m latencies lie below n edges on the axis of the box.

    `mean` (m,) and `deviation` (m,) describe the log latency. Distances start at the lower edge of the box.
    """
    if box.axis == "linear":
        return expected_shortfall(mean, deviation, np.exp(edges))
    deviation = np.maximum(deviation, MIN_DEVIATION)
    mean = np.maximum(mean, np.log(box.min_latency_ms))
    away = (edges[None, :] - mean[:, None]) / deviation[:, None]
    return np.asarray(deviation[:, None] * (away * ndtr(away) + np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi)))


def expected_shortfall(mean: Array, deviation: Array, heights: Array) -> Array:
    """Return the expected values (m, n) of max(0, h - exp(z)) for n heights h; z (m,) is normal."""
    deviation = np.maximum(deviation, MIN_DEVIATION)
    logs = np.log(np.maximum(heights, MIN_HEIGHT))
    away = (logs[None, :] - mean[:, None]) / deviation[:, None]
    inside = ndtr(away)
    partial = np.exp(mean[:, None] + 0.5 * deviation[:, None] ** 2 + log_ndtr(away - deviation[:, None]))
    return np.maximum(heights[None, :] * inside - partial, 0)
