"""A figure of the replays: the share of the true front over the cost, one panel for each recorded table."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from benchmarks.search_efficiency.recorded import RECORDED
from benchmarks.table_replay.report import by_strategy
from benchmarks.table_replay.runs import Run
from benchmarks.table_replay.strategies import OURS, TITLES
from studies.figures.front import AXIS_STYLE, layout

WIDTH, HEIGHT, TOP, BOTTOM = 1120, 860, 120, 130  # pixels
COLUMNS = 3
MIN_COST, MIN_SHARE = 3.0, 0.4
COST_TICKS = (3, 5, 10, 20, 50, 100, 200)
SHARE_TICKS = (0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
GRID_POINTS = 200  # costs at which the runs are evaluated
# Mostly Okabe and Ito's colours, which most colour-blind people can distinguish.
COLOURS = {
    "ours": "#0072B2",
    "ours_no_rung": "#56B4E9",
    "tpe_multivariate_rungs": "#009E73",
    "tpe_multivariate": "#7FCFB4",
    "nsga2_rungs": "#D55E00",
    "mo_asha": "#6A3D9A",
    "random_rungs": "#555555",
    "random": "#AAAAAA",
}


def share_at(run: Run, costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share (n,) that a run had reached at each of n costs; after its end, its last share."""
    paid = np.array([cost for cost, _ in run.curve])
    shares = np.array([0.0, *(share for _, share in run.curve)])
    return np.asarray(shares[np.searchsorted(paid, costs, side="right")])


def height(share: NDArray[np.float64], highest: float) -> NDArray[np.float64]:
    """Return the height of shares (n,) on the axis: logarithmic in 1 - share, so that the last percent is visible."""
    return np.asarray(-np.log10(1 - np.clip(share, 0.0, highest)))


def figure(runs: Mapping[str, Sequence[Run]]) -> go.Figure:
    """Plot the median share over the cost for each table; steps end at the goal of the table's runs."""
    names = list(runs)
    rows = -(-len(names) // COLUMNS)
    titles = [RECORDED[name].title + (" (development)" if RECORDED[name].development else "") for name in names]
    chart = make_subplots(rows, COLUMNS, subplot_titles=titles, horizontal_spacing=0.06, vertical_spacing=0.14)
    shown: set[str] = set()  # strategies in the legend
    for place, name in enumerate(names):
        row, column = place // COLUMNS + 1, place % COLUMNS + 1
        goal = RECORDED[name].settings.goal / 100
        costs = np.geomspace(MIN_COST, RECORDED[name].settings.budget, GRID_POINTS)
        for strategy, colour in COLOURS.items():
            own = list(by_strategy(runs[name]).get(strategy, {}).values())
            if not own:
                continue
            shares = np.median([share_at(run, costs) for run in own], axis=0)
            ended = int(np.argmax(shares >= goal)) + 1 if (shares >= goal).any() else len(shares)
            width = 3.4 if strategy == "ours" else 2.2 if strategy in OURS else 1.7
            chart.add_scatter(
                x=costs[:ended],
                y=height(shares[:ended], goal),
                mode="lines",
                name=TITLES[strategy],
                legendgroup=strategy,
                showlegend=strategy not in shown,
                line={"color": colour, "width": width, "shape": "hv"},
                row=row,
                col=column,
            )
            shown.add(strategy)
        ticks = [share for share in SHARE_TICKS if share <= goal]
        style = AXIS_STYLE | {"showline": True}
        right = RECORDED[name].settings.budget
        chart.update_xaxes(
            style
            | {"type": "log", "range": [np.log10(MIN_COST), np.log10(right)], "tickvals": COST_TICKS}
            | {"minor": {"showgrid": False}},
            row=row,
            col=column,
        )
        chart.update_yaxes(
            style
            | {
                "range": [float(height(np.array(MIN_SHARE), goal)), float(height(np.array(goal), goal)) * 1.01],
                "tickvals": [float(height(np.array(share), goal)) for share in ticks],
                "ticktext": [f"{share:.0%}" for share in ticks],
            },
            row=row,
            col=column,
        )
    seeds = sorted({len({run.seed for run in own}) for own in runs.values()})
    heading = (
        "Share of the true front's hypervolume (log axis towards 100 %) over the cost in full trainings (log axis).<br>"
        f"Median of {' or '.join(map(str, seeds))} seeds. All strategies get the same start networks, box and readings."
    )
    chart.update_layout(
        layout("Cost of finding the front of recorded tables", heading, TOP),
        margin={"l": 56, "r": 24, "t": TOP, "b": BOTTOM},
        width=WIDTH,
        height=HEIGHT,
        legend={"orientation": "h", "x": 0, "y": -0.07, "yanchor": "top", "bgcolor": "rgba(0, 0, 0, 0)"},
    )
    return chart
