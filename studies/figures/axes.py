"""Axes of a figure: the visible range, the position of a value on it, and the ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.records import reading
from studies.fronts.front import Front

LOG_RANGE = 5.0  # an axis over more than this ratio is logarithmic
PADDING = 0.07  # of an axis beyond the outermost values, a share of their range


@dataclass(frozen=True)
class Axis:
    """The visible part of an axis, in its unit."""

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """The position of a value along the axis, 0 to 1."""
        ends = (self.low, self.high, value)
        low, high, place = (math.log10(end) for end in ends) if self.log else ends
        return (place - low) / (high - low)

    def coordinate(self, value: float) -> float:
        """A value as plotly's annotations take it."""
        return math.log10(value) if self.log else value

    def layout(self) -> dict[str, Any]:
        """Range and ticks as plotly takes them."""
        ticks = {"tickvals": _ticks(self.low, self.high)} if self.log else {"nticks": 8}
        ends = [self.coordinate(self.low), self.coordinate(self.high)]
        return ticks | {"type": "log" if self.log else "linear", "range": ends, "tickformat": "~g"}


def latency_axis(front: Front) -> Axis:
    """An axis for the latencies of a front's networks and their intervals, in ms."""
    values = [x for r in front.trained for x in (r.point[0], reading(r).low_ms, reading(r).high_ms)]
    return axis(values, log=max(values) > LOG_RANGE * min(values))


def error_axis(front: Front) -> Axis:
    """An axis for the errors of a front's networks, in percent."""
    values = [record.point[1] for record in front.trained]
    return axis(values, log=0 < LOG_RANGE * min(values) < max(values))


def axis(values: Sequence[float], *, log: bool) -> Axis:
    """An axis with room around the values, also where they are all equal."""
    low, high = min(values), max(values)
    if log:
        room = (high / low) ** PADDING
        return Axis(low / room, high * room, log)
    pad = max((high - low) * PADDING, 0.02 * high) or 1.0
    return Axis(max(low - pad, 0.0), high + pad, log)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the ends of a logarithmic axis: 1-2-5, or finer if that gives fewer than five."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [t for t in (float(f"{step}e{decade}") for decade in decades for step in steps) if low <= t <= high]
        if len(ticks) >= 5:
            break
    return ticks
