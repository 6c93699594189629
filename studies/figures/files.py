"""Figures as PNG files. Drawing requires an installed Chrome or Chromium."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from studies.figures import backends as plots_backends
from studies.figures import front as plots
from studies.figures.chrome import draw
from studies.fronts.front import ParetoFront

SCALE = 2  # PNG pixels per figure pixel


def figure(fronts: Sequence[ParetoFront]) -> tuple[go.Figure, int]:
    """Plot the fronts of a study, one for each backend, and return the figure and its width in pixels."""
    if len(fronts) == 1:
        return plots.figure(fronts[0]), plots.WIDTH
    return plots_backends.figure(fronts), plots_backends.width(fronts)


def write_png(fronts: Sequence[ParetoFront], path: Path) -> None:
    """Write the figure of these fronts as a PNG. Raises NoChrome if no browser can draw it."""
    chart, width = figure(fronts)
    write_picture(chart, width, path)


def write_picture(chart: go.Figure, width: int, path: Path) -> None:
    """Write a figure as a PNG. Raises NoChrome if no browser can draw it."""
    path.write_bytes(draw(chart, width, chart.layout.height, SCALE))
