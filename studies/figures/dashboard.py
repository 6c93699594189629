"""Figures of a study for optuna-dashboard, which attaches them to the study: errors at rungs, and importances."""

from collections.abc import Collection, Sequence
from typing import Any

import plotly.graph_objects as go

from search.records import Record
from studies.figures.panel import BLUE, VERMILLION

GREY = "#9AA0A6"
MAX_CURVES = 300  # maximum number of networks without a place on the front, latest first
LAYOUT = {"template": "none", "margin": {"l": 70, "r": 20, "t": 50, "b": 50}}  # the usual template is 7 kB


def rung_curves(records: Sequence[Record], front: Collection[int], error_name: str = "validation error") -> go.Figure:
    """Plot the validation error of networks over epochs; `front` contains the trial numbers of the front.

    A network that was resumed has one curve, up to the last rung that it reached.
    """
    last = {record.fingerprint: record for record in records if record.rungs}
    shown = [record for record in last.values() if record.number in front]
    others = [record for record in last.values() if record.number not in front][-MAX_CURVES:]
    trained = [record for record in others if record.trained]
    stopped = [record for record in others if not record.trained]
    return go.Figure(
        [
            _curves("stopped early", GREY, stopped),
            _curves("trained to the end", BLUE, trained),
            _curves("on the front", VERMILLION, shown),
        ],
        LAYOUT
        | {
            "title": f"{error_name.capitalize()} at the rungs",
            "xaxis": {"title": "epochs", "rangemode": "tozero"},
            "yaxis": {"title": f"{error_name} (%)"},
        },
    )


def _curves(name: str, colour: str, records: Sequence[Record]) -> go.Scatter:
    """Draw the curves of several networks as one trace; a missing value separates two curves."""
    xs: list[int | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for record in records:
        epochs = sorted(record.rungs)
        xs += [*epochs, None]
        ys += [*(round(record.rungs[at], 2) for at in epochs), None]
        texts += [f"trial {record.number}"] * (len(epochs) + 1)
    style = {"color": colour, "width": 1.5}
    hover = "%{text}: %{y} % after %{x} epochs<extra></extra>"
    return go.Scatter(x=xs, y=ys, text=texts, name=name, mode="lines+markers", line=style, hovertemplate=hover)


def importance_bars(found: dict[str, Any]) -> go.Figure:
    """Plot the result of studies.report.importances as bars, the most important choice for the error on top."""
    colours = (BLUE, VERMILLION)
    order = list(dict.fromkeys(choice for one in found["objectives"] for choice, _ in one["shares"]))
    bars = [
        go.Bar(
            x=[round(100 * share, 1) for _, share in one["shares"]],
            y=[choice for choice, _ in one["shares"]],
            name=one["name"],
            orientation="h",
            marker={"color": colour},
            hovertemplate="%{y}: %{x} %<extra></extra>",
        )
        for one, colour in zip(found["objectives"], colours, strict=True)
    ]
    return go.Figure(
        bars,
        LAYOUT
        | {
            "title": f"Importance of the effective values, {found['networks']} networks",
            "xaxis": {"title": "share of the variance explained by a random forest (%)"},
            "yaxis": {"categoryorder": "array", "categoryarray": order[::-1], "automargin": True},
            "height": 120 + 30 * len(order),
        },
    )
