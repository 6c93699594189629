"""A figure of hypervolume over search cost, with one curve for each study."""

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from search.volume import Step
from studies.figures.axes import Axis, Plot, axis
from studies.figures.front import BOTTOM, HEAD, HEIGHT, LEFT, LINE, LINE_HEIGHT, RIGHT, WIDTH, axis_layout, layout
from studies.figures.labels import CHARACTER, Box, Sides, place
from studies.figures.panel import BLUE, INK, VERMILLION

# Okabe and Ito's colour-blind-safe colours without yellow, which is too light for a line. Further lines are dashed.
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LABEL = 13  # font size of the labels, pixels
# Directions from the end of a line in which its label may be placed.
END_SIDES: Sides = ((1, 0), (1, -1), (1, 1), (0, -1), (0, 1), (-1, -1), (-1, 1))
COST, VOLUME = "cost (full trainings)", "hypervolume (% of the box), higher is better"


@dataclass(frozen=True)
class Line:
    """A curve to draw."""

    name: str
    steps: tuple[Step, ...]
    # Cost in full trainings, and hypervolume in percent of the box.
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    colour: str
    dash: str


def volume_plot(curves: Mapping[str, tuple[Step, ...]], full_training: int, about: Sequence[str] = ()) -> go.Figure:
    """Plot a step curve for each study, with a label at its end.

    `full_training` is the cost of one full training in training images processed. `about` contains the paragraphs
    below the title.
    """
    lines = [_line(number, name, steps, full_training) for number, (name, steps) in enumerate(curves.items())]
    lines = [line for line in lines if line.steps]
    heading = "<br>".join(html.escape(part, quote=False) for text in about for part in textwrap.wrap(text, LINE))
    top = HEAD - LINE_HEIGHT + LINE_HEIGHT * heading.count("<br>")
    right = RIGHT + 16 + CHARACTER * LABEL * max((len(_label(line)) for line in lines), default=0)
    xs = axis([0.0, *(x for line in lines for x in line.xs)], log=False)
    ys = axis([y for line in lines for y in line.ys] or [0.0], log=False)
    chart = go.Figure([trace for line in lines for trace in _traces(line)])
    for annotation in _labels(lines, xs, ys, (LEFT, top, WIDTH - right, HEIGHT - BOTTOM)):
        chart.add_annotation(annotation)
    chart.update_layout(
        layout(f"Front over cost: {', '.join(curves)}", heading, top),
        margin={"r": right},
        showlegend=False,
        xaxis=axis_layout(xs, f"{COST}, one = {full_training:,} training images processed"),
        yaxis=axis_layout(ys, VOLUME),
    )
    return chart


def _line(number: int, name: str, steps: Sequence[Step], full_training: int) -> Line:
    """Return a curve that starts at the first network in the box. Starting earlier would compress the axis."""
    steps = tuple(step for step in steps if step.hypervolume > 0)
    xs = tuple(step.image_passes / full_training for step in steps)
    ys = tuple(step.share_percent for step in steps)
    dash = "solid" if number < len(COLOURS) else "dash"
    return Line(name, steps, xs, ys, COLOURS[number % len(COLOURS)], dash)


def _traces(line: Line) -> list[go.Scatter]:
    """Draw the steps of a line, and a dot at its end."""
    texts = [
        f"<b>{html.escape(line.name)}</b><br>trial {step.trial}<br>{y:.2f} % of the box after {x:.3g} full trainings"
        for step, x, y in zip(line.steps, line.xs, line.ys, strict=True)
    ]
    style = {"color": line.colour, "width": 2.2, "shape": "hv", "dash": line.dash}
    dot = {"size": 9, "color": line.colour}
    return [
        go.Scatter(x=line.xs, y=line.ys, mode="lines", line=style, hovertext=texts, hoverinfo="text", name=line.name),
        go.Scatter(x=line.xs[-1:], y=line.ys[-1:], mode="markers", marker=dot, hoverinfo="skip", cliponaxis=False),
    ]


def _label(line: Line) -> str:
    return f"{line.name} {line.ys[-1]:.1f} %"


def _labels(lines: Sequence[Line], xs: Axis, ys: Axis, frame: Box) -> list[dict[str, Any]]:
    """Return labels for the ends of the lines as plotly annotations. They avoid lines and other labels if possible."""
    left, top, _, bottom = frame
    pixel = Plot(xs, ys, frame).pixel
    taken: list[Box] = []
    for line in lines:
        corners = [pixel(x, y) for x, y in zip(line.xs, line.ys, strict=True)]
        for (x0, y0), (x1, y1) in pairwise(corners):
            taken += [(x0, y0 - 2, x1, y0 + 2), (x1 - 2, min(y0, y1), x1 + 2, max(y0, y1))]
        taken.append((corners[-1][0] - 5, corners[-1][1] - 5, corners[-1][0] + 5, corners[-1][1] + 5))
    found = []
    for line in sorted(lines, key=lambda line: line.ys[-1], reverse=True):
        end, text = (line.xs[-1], line.ys[-1]), _label(line)
        spot = place(pixel(*end), text, LABEL, END_SIDES, taken, (left, top, WIDTH, bottom))
        taken.append(spot.box)
        font = {"size": LABEL, "color": INK if line.dash != "solid" else line.colour}
        found.append({"x": end[0], "y": end[1], "text": html.escape(text), "font": font, **spot.annotation})
    return found
