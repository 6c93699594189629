"""The fronts of a study as a PNG where a Chrome is, and any figure as one interactive file that needs no network."""

import html
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import plotly.io

from studies.figures import backends as plots_backends
from studies.figures import front as plots
from studies.figures.chrome import draw
from studies.fronts.front import Front

SCALE = 2  # pixels of the PNG for each of the figure
NARROWEST = 120  # pixels by which the page may be narrower than the figure's own width

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0 auto; max-width: {most}px; min-width: {least}px; background: white; }}</style>
</head>
<body>
{figure}
</body>
</html>
"""


def figure(fronts: Sequence[Front]) -> tuple[go.Figure, int]:
    """The fronts of a study, one for each backend, in one figure, and its width in pixels."""
    if len(fronts) == 1:
        return plots.figure(fronts[0]), plots.WIDTH
    return plots_backends.figure(fronts), plots_backends.width(fronts)


def write_png(fronts: Sequence[Front], path: Path) -> None:
    """Write the figure as a PNG; NoChrome where none can draw it."""
    chart, width = figure(fronts)
    write_picture(chart, width, path)


def write_page(chart: go.Figure, width: int, path: Path, *, title: str, name: str) -> None:
    """Write a figure of so many pixels as one interactive file; `name` is that of the pictures saved from it."""
    drawn = plotly.io.to_html(
        chart,
        include_plotlyjs=True,
        full_html=False,
        default_width="100%",
        config={
            "responsive": True,
            "displaylogo": False,
            "showSendToCloud": False,  # plotly.js 4 would offer to upload the chart
            "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
            "toImageButtonOptions": {"filename": name, "scale": SCALE},
        },
    )
    page = PAGE.format(title=html.escape(title), figure=drawn, least=width - NARROWEST, most=round(1.25 * width))
    path.write_text(page, encoding="utf-8")


def write_picture(chart: go.Figure, width: int, path: Path) -> None:
    """Write a figure as a PNG; NoChrome where none can draw it."""
    path.write_bytes(draw(chart, width, chart.layout.height, SCALE))
