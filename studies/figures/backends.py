"""A figure of a study's fronts on several backends. Each backend has a panel; networks that moved are marked in all."""

import html
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from search.records import reading
from studies.figures.axes import error_axis, latency_axis
from studies.figures.front import (
    BOTTOM,
    HEAD,
    HEIGHT,
    LATENCY,
    LEFT,
    LINE_HEIGHT,
    RIGHT,
    axis_layout,
    error_text,
    layout,
    subtitle,
)
from studies.figures.labels import CHARACTER
from studies.figures.panel import INK, SOFT, Panel, annotations, reconstructed, traces
from studies.fronts.front import ParetoFront
from studies.fronts.moves import moves
from studies.fronts.wording import agreement_text, conditions

MAX_PANELS = 3  # maximum number of backends in one figure
PANEL, GAP = 560, 28  # width of a panel, and of the gap between two panels, pixels
TEXT, NAME, NOTE = 13, 15, 12  # font sizes below the title and above a panel
INDENT, AIR = 24, 12  # space left of the title, and around the text above a panel, pixels
JOINED, LEFT_IT = "triangle-up", "triangle-down"  # a network has the same symbol in every panel
MARKED = {JOINED: "joined the front elsewhere", LEFT_IT: "left the front elsewhere"}


def width(fronts: Sequence[ParetoFront]) -> int:
    """Return the width of the figure of these fronts in pixels."""
    panels = min(len(fronts), MAX_PANELS)
    return LEFT + panels * PANEL + (panels - 1) * GAP + RIGHT


def figure(fronts: Sequence[ParetoFront]) -> go.Figure:
    """Plot the first MAX_PANELS fronts side by side. Each has its own latency axis, and all share the error axis."""
    shown, across = fronts[:MAX_PANELS], width(fronts)
    heading = subtitle(shown[0], list(_notes(fronts)), int((across - 2 * INDENT) / (TEXT * CHARACTER)))
    above = [_above(shown[0], front) for front in shown]
    band = LINE_HEIGHT * max(lines.count("<br>") + 1 for lines in above) + 2 * AIR
    top, bottom = HEAD + LINE_HEIGHT * heading.count("<br>") + band, HEIGHT + band - BOTTOM
    panels = _panels(shown, top, bottom)
    chart = go.Figure(list(_legend(panels)))
    for number, (panel, lines) in enumerate(zip(panels, above, strict=True), start=1):
        domain = [(edge - LEFT) / (across - LEFT - RIGHT) for edge in (panel.frame[0], panel.frame[2])]
        chart.update_layout({f"xaxis{number}": axis_layout(panel.xs, LATENCY) | {"domain": domain}})
        for trace in traces(panel):
            chart.add_trace(trace.update(xaxis=f"x{number}", legendgroup=trace.name, showlegend=False))
        for annotation in annotations(panel):
            chart.add_annotation(annotation, xref=f"x{number}")
        chart.add_annotation(_header(lines, domain[0], band))
    chart.update_layout(
        layout(f"Pareto fronts of {fronts[0].study} on {len(fronts)} backends", heading, top),
        height=HEIGHT + band,
        legend={"y": 1 + band / (bottom - top), "yanchor": "bottom"},
        yaxis=axis_layout(panels[0].ys, error_text(fronts[0])),
    )
    return chart


def _notes(fronts: Sequence[ParetoFront]) -> Iterator[str]:
    """Yield further notes for the subtitle."""
    if any(reconstructed(point.record) for point in fronts[0].named):
        yield "* a reconstruction, as its layers were never released"
    if len(fronts) > MAX_PANELS:
        yield f"Not shown: {', '.join(front.backend for front in fronts[MAX_PANELS:])}"


def _panels(fronts: Sequence[ParetoFront], top: float, bottom: float) -> list[Panel]:
    """Return the panels of these fronts from left to right. `top` and `bottom` are their edges in pixels."""
    ys, moved = error_axis(fronts[0]), _moved(fronts)
    lefts = [LEFT + number * (PANEL + GAP) for number in range(len(fronts))]
    return [
        Panel(front, latency_axis(front), ys, (left, top, left + PANEL, bottom), moved, "*")
        for front, left in zip(fronts, lefts, strict=True)
    ]


def _moved(fronts: Sequence[ParetoFront]) -> dict[int, str]:
    """Return the symbols of the networks that joined or left the front on another backend. No network can do both."""
    symbols: dict[int, str] = {}
    for front in fronts[1:]:
        found = moves(fronts[0], front)
        symbols |= dict.fromkeys((one.here.number for one in found.joined), JOINED)
        symbols |= dict.fromkeys((one.here.number for one in found.left), LEFT_IT)
    return symbols


def _above(first: ParetoFront, front: ParetoFront) -> str:
    """Return the text above a panel in plotly's HTML: the backend, the measurement conditions, and the changes."""
    latency = reading(front.picked)
    summary = f"the study's objective; on the front: {len(front.front)} of {len(front.trained)}"
    if front is not first:
        found = moves(first, front)
        summary = f"{len(found.joined)} joined the front, {len(found.left)} left it; {agreement_text(found)}"
    names = [
        f"<b><span style='font-size:{NAME}px;color:{INK}'>{part}</span></b>" for part in _lines(front.backend, NAME)
    ]
    return "<br>".join([*names, *_lines(conditions(latency, latency.processor), NOTE), *_lines(summary, NOTE)])


def _lines(text: str, size: int) -> list[str]:
    """Wrap a text to the width of a panel and escape it."""
    return [html.escape(part, quote=False) for part in textwrap.wrap(text, int(PANEL / (size * CHARACTER)))]


def _header(lines: str, left: float, band: float) -> dict[str, Any]:
    """Return the annotation above a panel. `left` is a fraction of the plot's width, `band` the height in pixels."""
    place = {
        "x": left,
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "top",
        "yshift": band - AIR,
    }
    font = {"size": NOTE, "color": SOFT}
    return place | {"text": lines, "align": "left", "showarrow": False, "borderpad": 0, "font": font}


def _legend(panels: Sequence[Panel]) -> Iterator[go.Scatter]:
    """Yield a legend entry for each kind of network. Plotly's own entries would show the first network's symbol."""
    kinds: dict[str, go.Scatter] = {}
    for panel in panels:
        for trace in traces(replace(panel, moved={})):
            if trace.showlegend:
                kinds.setdefault(trace.name, trace)
    for name, trace in kinds.items():
        yield _entry(name, mode=trace.mode, marker=trace.marker, line=trace.line, legendgroup=name)
    for symbol, name in MARKED.items():
        if symbol in panels[0].moved.values():
            yield _entry(name, mode="markers", marker={"symbol": symbol, "size": 12, "color": SOFT})


def _entry(name: str, **style: object) -> go.Scatter:
    return go.Scatter(x=[None], y=[None], name=name, showlegend=True, **style)
