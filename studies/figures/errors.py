"""A figure of test or validation errors over latency, both with intervals."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from search.latency.reading import Latency
from studies.figures.axes import LOG_RANGE, Axis, Plot, axis
from studies.figures.front import (
    BOTTOM,
    HEAD,
    HEIGHT,
    LATENCY,
    LEFT,
    LINE,
    LINE_HEIGHT,
    RIGHT,
    WIDTH,
    axis_layout,
    layout,
    wrapped,
)
from studies.figures.labels import RIGHT_FIRST, Box, place
from studies.figures.panel import BLUE, INK, VERMILLION

LABEL_SIZE = 13  # font size of a label
HALF = 8  # half of the width of a symbol with its surroundings, pixels


@dataclass(frozen=True)
class ErrorPoint:
    """A network in the figure."""

    title: str
    latency: Latency
    # Error in percent with its interval.
    error: float
    low: float
    high: float
    # Whether the network is emphasized.
    emphasized: bool = False


def figure(title: str, notes: Sequence[str], error_text: str, points: Sequence[ErrorPoint]) -> go.Figure:
    """Plot errors over latency; `notes` are shown below the title, `error_text` is the title of the error axis."""
    heading = wrapped(notes, LINE)
    top = HEAD + LINE_HEIGHT * heading.count("<br>")
    ms = [x for one in points for x in (one.latency.low_ms, one.latency.latency_ms, one.latency.high_ms)]
    xs = axis(ms, log=max(ms) > LOG_RANGE * min(ms))
    ys = axis([y for one in points for y in (one.low, one.error, one.high)], log=False)
    chart = go.Figure([_markers([one for one in points if one.emphasized is kind], kind) for kind in (False, True)])
    for annotation in _annotations(points, xs, ys, (LEFT, top, WIDTH - RIGHT, HEIGHT - BOTTOM)):
        chart.add_annotation(annotation)
    chart.update_layout(
        layout(title, heading, top),
        showlegend=False,
        xaxis=axis_layout(xs, LATENCY),
        yaxis=axis_layout(ys, error_text),
    )
    return chart


def _markers(points: Sequence[ErrorPoint], emphasized: bool) -> go.Scatter:
    color = VERMILLION if emphasized else BLUE
    bar = {"type": "data", "symmetric": False, "color": color, "thickness": 1.2, "width": 3}
    latencies = [one.latency for one in points]
    return go.Scatter(
        x=[latency.latency_ms for latency in latencies],
        y=[one.error for one in points],
        error_x=bar
        | {
            "array": [latency.high_ms - latency.latency_ms for latency in latencies],
            "arrayminus": [latency.latency_ms - latency.low_ms for latency in latencies],
        },
        error_y=bar
        | {"array": [one.high - one.error for one in points], "arrayminus": [one.error - one.low for one in points]},
        hovertext=[
            f"<b>{html.escape(one.title, quote=False)}</b><br>"
            f"error {one.error:.2f} % ({one.low:.2f} to {one.high:.2f})<br>"
            f"latency {one.latency.latency_ms:.3g} ms ({one.latency.low_ms:.3g} to {one.latency.high_ms:.3g})"
            for one in points
        ],
        hoverinfo="text",
        mode="markers",
        marker={"size": 10, "color": color},
        cliponaxis=False,
    )


def _annotations(points: Sequence[ErrorPoint], xs: Axis, ys: Axis, frame: Box) -> Iterator[dict[str, Any]]:
    """Yield the titles of the points, placed to cover points, bars and other titles as little as possible."""
    pixel = Plot(xs, ys, frame).pixel
    taken: list[Box] = []
    for one in points:
        x, y = pixel(one.latency.latency_ms, one.error)
        (near, lowest), (far, highest) = pixel(one.latency.low_ms, one.low), pixel(one.latency.high_ms, one.high)
        taken += [(x - HALF, y - HALF, x + HALF, y + HALF), (near, y - 2, far, y + 2), (x - 2, highest, x + 2, lowest)]
    for one in points:
        at = one.latency.latency_ms, one.error
        text = html.escape(one.title, quote=False)
        spot = place(pixel(*at), one.title, LABEL_SIZE, RIGHT_FIRST, taken, frame)
        taken.append(spot.box)
        font = {"size": LABEL_SIZE, "color": VERMILLION if one.emphasized else INK}
        yield {"x": xs.coordinate(at[0]), "y": ys.coordinate(at[1]), "text": text, "font": font, **spot.annotation}
