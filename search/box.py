"""The box: the region of latency and error whose dominated part is the hypervolume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.pareto import hypervolume

Axis = Literal["log", "linear"]
AXES: tuple[Axis, ...] = get_args(Axis)

UPPER_MARGIN = 1.1  # ratio of the upper edge to the slowest network that determines it
FIRST_TRAINED = 5  # number of trained networks that determine the upper edge if there are no named networks
MIN_SPAN = 2.0  # minimum ratio of the upper edge to a lower edge that the study file does not set


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
        return hypervolume(self.placed(points), self.placed(self.reference)[0])

    @property
    def reference(self) -> tuple[float, float]:
        """The upper edges (latency in ms, error in percent): the reference point of the hypervolume."""
        return self.max_latency_ms, self.max_error

    @property
    def area(self) -> float:
        """The area of the box, in the unit of `hypervolume`."""
        return self.hypervolume((self.min_latency_ms, 0.0))

    @property
    def linear(self) -> "Box":
        """The box with the same upper edges on a linear axis from 0 ms."""
        return replace(self, axis="linear", min_latency_ms=0.0)

    def percent(self, volume: float) -> float:
        """Return a hypervolume as a share of the box, 0 to 100; 0 if the box is empty."""
        area = self.area
        return 100 * volume / area if area > 0 else 0.0

    def share_percent(self, points: ArrayLike) -> float:
        """Return the share of the box that points (n, 2) dominate, 0 to 100; 0 if the box is empty."""
        return self.percent(self.hypervolume(points))


@dataclass(frozen=True)
class Objective:
    """The settings of a study that determine its box."""

    # The error that is minimized, see METRICS.
    metric: str = "error"
    # Scale of the latency.
    axis: Axis = "log"
    # Upper edge of the error in percent. None: see `guessing_error`.
    max_error: float | None = None
    # Lower edge of the latency in ms on a logarithmic axis. None: the fastest feasible network measured.
    min_latency_ms: float | None = None


@dataclass(frozen=True)
class Latencies:
    """The latencies of a study in ms that determine its box; models of other libraries are left out."""

    # Of the named networks that were measured.
    named: tuple[float, ...] = ()
    # Of the networks that were trained to the end, in the order of their trials.
    trained: tuple[float, ...] = ()
    # Of the networks that were measured reliably and are feasible, trained or not.
    feasible: tuple[float, ...] = ()


def box_around(
    latencies: Latencies, objective: Objective, class_images: Sequence[int], limit_ms: float | None = None
) -> Box:
    """Return the box of a study, given its latencies, its latency limit and its validation images by class.

    The upper edge of the latency is the limit. If there is no limit, it is UPPER_MARGIN times the latency of the
    slowest named network. If there are no named networks, the slowest of the first FIRST_TRAINED trained networks is
    used instead or, before the first training ends, the slowest feasible network. Raises ValueError if there is neither
    a limit nor any of these networks.

    The lower edge is 0 ms on a linear axis, and otherwise that of the objective. Without it, or if it is not below the
    upper edge, the lower edge is the latency of the fastest feasible network, at most 1 / MIN_SPAN of the upper edge.
    """
    upper = _upper_edge_ms(latencies, limit_ms)
    error = guessing_error(objective.metric, class_images) if objective.max_error is None else objective.max_error
    lower, given = min([*latencies.feasible, upper / MIN_SPAN]), objective.min_latency_ms
    if given is not None and given < upper:
        lower = given
    return Box(upper, error, 0.0 if objective.axis == "linear" else lower, objective.axis)


def _upper_edge_ms(latencies: Latencies, limit_ms: float | None) -> float:
    if limit_ms is not None:
        return float(limit_ms)
    setting = latencies.named or latencies.trained[:FIRST_TRAINED] or latencies.feasible
    if not setting:
        raise ValueError("no latency limit and no measured network, so the box has no upper edge")
    return UPPER_MARGIN * max(setting)


def guessing_error(metric: str, class_images: Sequence[int]) -> float:
    """Return the error in percent of naming the most frequent class for every image.

    `class_images` are numbers of images by class. The balanced error of one class for every image is at chance level,
    100 * (1 - 1 / classes), whichever class it is.
    """
    images = [number for number in class_images if number]
    correct = 1 / len(images) if metric == "balanced_error" else max(images) / sum(images)
    return 100 * (1 - correct)


def stored_objective(table: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """Return the table [objective] that a study stored, with the box of earlier versions if it has none.

    Their box was linear, and its upper edge was the chance level of equally frequent classes.
    """
    earlier = {"box": "linear", "max_error": guessing_error("error", (1,) * classes)}
    return dict(table) if "box" in table else earlier | dict(table)
