"""A figure of the comparison: test error against latency, with the name of every system."""

import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go

from benchmarks.comparison.page import Row
from studies.figures.axes import axis
from studies.figures.front import BOTTOM, HEAD, HEIGHT, LEFT, LINE, LINE_HEIGHT, RIGHT, WIDTH, axis_layout, layout
from studies.figures.labels import RIGHT_FIRST, Box, place
from studies.figures.panel import BLUE, DOT, INK, SOFT, VERMILLION

# Legend and marker of each kind of system.
KINDS = {
    "spec": ("published ThreshNets and HarDNets", {"symbol": "diamond", "size": 13, "color": VERMILLION}),
    "baseline": ("baselines", {"symbol": "circle", "size": 9, "color": DOT}),
    "stride8": ("baselines at stride 8", {"symbol": "square", "size": 9, "color": SOFT}),
    "file": ("discovered networks", {"symbol": "circle", "size": 12, "color": BLUE}),
}
LABEL_SIZE = 12  # font size, pixels


def figure(rows: Sequence[Row], heading: str) -> go.Figure:
    """Plot test error against latency for all complete rows, both with their 95 % intervals."""
    shown = [row for row in rows if row.complete]
    texts = "<br>".join(textwrap.wrap(heading, LINE))
    top = HEAD + LINE_HEIGHT * texts.count("<br>")
    xs = axis([x for row in shown for x in _latency(row)], log=True)
    ys = axis([y for row in shown for y in _error(row)], log=False)
    chart = go.Figure()
    for kind, (name, marker) in KINDS.items():
        own = [row for row in shown if row.kind == kind]
        if own:
            chart.add_scatter(
                x=[_latency(row)[0] for row in own],
                y=[_error(row)[0] for row in own],
                error_x=_bars([_latency(row) for row in own]),
                error_y=_bars([_error(row) for row in own]),
                mode="markers",
                marker=marker,
                name=name,
            )
    frame = (LEFT, top, WIDTH - RIGHT, HEIGHT - BOTTOM)
    pixels = {
        row.key: (
            frame[0] + (frame[2] - frame[0]) * xs.share(_latency(row)[0]),
            frame[1] + (frame[3] - frame[1]) * (1 - ys.share(_error(row)[0])),
        )
        for row in shown
    }
    occupied: list[Box] = [(x - 8, y - 12, x + 8, y + 12) for x, y in pixels.values()]
    for row in shown:
        spot = place(pixels[row.key], row.title, LABEL_SIZE, RIGHT_FIRST, occupied, frame)
        occupied.append(spot.box)
        x, y = xs.coordinate(_latency(row)[0]), ys.coordinate(_error(row)[0])
        chart.add_annotation(x=x, y=y, text=row.title, font={"size": LABEL_SIZE, "color": INK}, **spot.annotation)
    chart.update_layout(
        layout("All systems under one protocol", texts, top),
        legend={"y": 1.012, "yanchor": "bottom"},
        xaxis=axis_layout(xs, "latency of one run (ms), lower is better"),
        yaxis=axis_layout(ys, "test error (%), lower is better"),
    )
    return chart


def _latency(row: Row) -> tuple[float, float, float]:
    """(latency, low, high) of a complete row, ms."""
    assert row.latency is not None
    return row.latency["latency_ms"], row.latency["low_ms"], row.latency["high_ms"]


def _error(row: Row) -> tuple[float, float, float]:
    """(test error, low, high) of a complete row, percent."""
    assert row.error is not None
    return row.error


def _bars(values: Sequence[tuple[float, float, float]]) -> dict[str, object]:
    """Error bars in plotly's format."""
    return {
        "type": "data",
        "array": [high - value for value, _, high in values],
        "arrayminus": [value - low for value, low, _ in values],
        "thickness": 1,
        "width": 2,
    }
