"""A figure of the front on one backend."""

import html
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from search.records import reading
from studies.figures.axes import Axis, error_axis, latency_axis
from studies.figures.panel import DOT, GRID, INK, SOFT, Panel, annotations, infeasible, traces
from studies.fronts.front import ParetoFront
from studies.fronts.wording import conditions

WIDTH, HEIGHT = 1120, 720  # pixels
LEFT, RIGHT, BOTTOM = 76, 36, 72  # margins, pixels
HEAD, LINE_HEIGHT = 108, 19  # space above the plot with one line below the title, and for each further line, pixels
LINE = 160  # characters per line below the title
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
LATENCY = "latency of one run (ms), lower is better"


def figure(front: ParetoFront) -> go.Figure:
    """Plot the validation error against latency for all trained networks, with the front as a staircase."""
    latency = reading(front.picked)
    processor = "" if latency.processor in ("", latency.device) else f" ({latency.processor})"
    heading = subtitle(front, [f"Latency on {conditions(latency, latency.device + processor)}"], LINE)
    top = HEAD + LINE_HEIGHT * heading.count("<br>")
    xs, ys = latency_axis(front), error_axis(front)
    panel = Panel(front, xs, ys, frame=(LEFT, top, WIDTH - RIGHT, HEIGHT - BOTTOM))
    chart = go.Figure(list(traces(panel)))
    for annotation in annotations(panel):
        chart.add_annotation(annotation)
    chart.update_layout(
        layout(f"Pareto front of {front.study}", heading, top),
        legend={"y": 1.012, "yanchor": "bottom"},
        xaxis=axis_layout(xs, LATENCY),
        yaxis=axis_layout(ys, error_text(front)),
    )
    return chart


def error_text(front: ParetoFront) -> str:
    """Return the title of the error axis."""
    return f"{front.error_name} (%), lower is better"


def subtitle(front: ParetoFront, more: Sequence[str], line: int) -> str:
    """Return the subtitle as HTML: study and conditions, then the texts in `more`, wrapped to `line` characters."""
    counted = [
        f"{len(front.trained)} trained network{'s' if len(front.trained) > 1 else ''}, one training each",
        "numbers along the front are trials",
        "bars: 95 % interval of the latency",
        *(["! unreliable latency"] if any(reading(record).warnings for record in front.trained) else []),
    ]
    texts = [front.about, "; ".join(counted), *more, f"Caveat: {front.caveat}" if front.caveat else ""]
    if all(infeasible(record) for record in front.trained):
        texts.append("No network satisfies all constraints: this front is of infeasible networks")
    return wrapped(texts, line)


def wrapped(texts: Iterable[str], line: int) -> str:
    """Return texts as lines of HTML of at most `line` characters."""
    return "<br>".join(html.escape(part, quote=False) for text in texts for part in textwrap.wrap(text, line))


def layout(title: str, heading: str, top: float) -> dict[str, Any]:
    """Return the layout that all figures share: title, heading, margins, fonts and the style of the legend."""
    return {
        "title": {
            "text": f"<b>{html.escape(title)}</b>",
            "subtitle": {"text": heading, "font": {"size": 13, "color": SOFT}},
            "font": {"size": 21, "color": INK},
            "x": 0,
            "xanchor": "left",
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 24, "l": 24},
        },
        "height": HEIGHT,
        "margin": {"l": LEFT, "r": RIGHT, "t": top, "b": BOTTOM},
        "font": {"family": FONT, "size": 13, "color": INK},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "white",
            "bordercolor": DOT,
            "align": "left",
            "font": {"family": FONT, "size": 13, "color": INK},
            "namelength": 0,
        },
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "font": {"color": SOFT}},
    }


# The style that the axes of all figures share, in plotly's format.
AXIS_STYLE: dict[str, Any] = {
    "tickfont": {"color": SOFT},
    "gridcolor": GRID,
    "linecolor": DOT,
    "zeroline": False,
}


def axis_layout(axis: Axis, text: str) -> dict[str, Any]:
    """Return an axis with its title in plotly's format."""
    return (
        axis.layout()
        | AXIS_STYLE
        | {
            "title": {"text": text, "font": {"size": 14, "color": SOFT}, "standoff": 12},
            "ticks": "outside",
            "tickcolor": DOT,
        }
    )
