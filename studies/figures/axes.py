"""Axes of a figure: their visible range, the positions of values, and the ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.records import reading
from studies.figures.labels import Box
from studies.fronts.front import ParetoFront

LOG_RANGE = 5.0  # an axis is logarithmic if its values span more than this ratio
PADDING = 0.07  # room beyond the smallest and largest value, relative to their range


@dataclass(frozen=True)
class Axis:
    """The visible range of an axis, in the unit of its values."""

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Return the position of a value along the axis, from 0 to 1."""
        ends = (self.low, self.high, value)
        low, high, place = (math.log10(end) for end in ends) if self.log else ends
        return (place - low) / (high - low)

    def coordinate(self, value: float) -> float:
        """Convert a value to the coordinate that plotly's annotations use."""
        return math.log10(value) if self.log else value

    def layout(self) -> dict[str, Any]:
        """Return range and ticks in plotly's format."""
        ticks = {"tickvals": _ticks(self.low, self.high)} if self.log else {"nticks": 8}
        ends = [self.coordinate(self.low), self.coordinate(self.high)]
        return ticks | {"type": "log" if self.log else "linear", "range": ends, "tickformat": "~g"}


@dataclass(frozen=True)
class Plot:
    """The place of two axes in a figure."""

    xs: Axis
    ys: Axis
    # Left, top, right and bottom edge in pixels of the figure.
    frame: Box

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of the figure at which a point lies."""
        left, top, right, bottom = self.frame
        return left + (right - left) * self.xs.share(x), top + (bottom - top) * (1 - self.ys.share(y))


def latency_axis(front: ParetoFront) -> Axis:
    """Return an axis in ms for the latencies of a front's networks and their intervals."""
    values = [x for r in front.trained for x in (r.point[0], reading(r).low_ms, reading(r).high_ms)]
    return axis(values, log=max(values) > LOG_RANGE * min(values))


def error_axis(front: ParetoFront) -> Axis:
    """Return an axis in percent for the errors of a front's networks."""
    values = [record.point[1] for record in front.trained]
    return axis(values, log=0 < LOG_RANGE * min(values) < max(values))


def axis(values: Sequence[float], *, log: bool) -> Axis:
    """Return an axis with room around the values, even if they are all equal."""
    low, high = min(values), max(values)
    if log:
        room = (high / low) ** PADDING
        return Axis(low / room, high * room, log)
    pad = max((high - low) * PADDING, 0.02 * high) or 1.0
    return Axis(max(low - pad, 0.0), high + pad, log)


def _ticks(low: float, high: float) -> list[float]:
    """Return ticks at round values of a logarithmic axis: 1-2-5 steps, or finer steps if there are fewer than five."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [t for t in (float(f"{step}e{decade}") for decade in decades for step in steps) if low <= t <= high]
        if len(ticks) >= 5:
            break
    return ticks
