"""The box: the region of latency and error whose dominated part is the hypervolume."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.pareto import hypervolume

Axis = Literal["log", "linear"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Box:
    """A box with an upper edge in both objectives. On a logarithmic axis, halving any latency counts the same.

    Points beyond an edge are clipped to it: they add nothing beyond an upper edge, and no more than a point on the edge
    below the lower edge.
    """

    # Upper edges: latency in ms, error in percent.
    max_latency_ms: float
    max_error: float
    # Lower edge in ms; must be positive on a logarithmic axis. The lower edge of the error is 0 %.
    min_latency_ms: float
    # Scale of the latency.
    axis: Axis = "log"

    def position(self, latency_ms: ArrayLike) -> NDArray[np.float64]:
        """Return latencies in ms, clipped to the edges, on the axis of the box."""
        clipped = np.clip(np.asarray(latency_ms, dtype=np.float64), self.min_latency_ms, self.max_latency_ms)
        return np.asarray(np.log(clipped) if self.axis == "log" else clipped)

    def placed(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return points (n, 2) of latency in ms and error in percent, clipped to the edges, on the axes of the box."""
        latency, error = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
        return np.column_stack([self.position(latency), np.minimum(error, self.max_error)])

    def hypervolume(self, points: ArrayLike) -> float:
        """Return the area that points (n, 2) dominate: log-latency (or ms) times percent."""
        return hypervolume(self.placed(points), self.placed((self.max_latency_ms, self.max_error))[0])

    @property
    def area(self) -> float:
        """The area of the box, in the unit of `hypervolume`."""
        return self.hypervolume((self.min_latency_ms, 0.0))

    def share_percent(self, points: ArrayLike) -> float:
        """Return the share of the box that points (n, 2) dominate, 0 to 100; 0 if the box is empty."""
        area = self.area
        return 100 * self.hypervolume(points) / area if area > 0 else 0.0
