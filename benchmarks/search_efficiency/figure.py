"""A figure of the replays of a table: share of the true front over cost, with one line for each strategy."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from benchmarks.report import digits
from benchmarks.search_efficiency.page import by_strategy, costs
from benchmarks.search_efficiency.replay import GOAL, best_shares, oracle
from benchmarks.search_efficiency.runs import Run
from benchmarks.search_efficiency.strategies import OURS, TITLES, UNSEEN
from benchmarks.threshbench.table import RUNGS, Table
from studies.figures.front import layout
from studies.figures.panel import DOT, GRID, INK, SOFT

WIDTH, HEIGHT = 1120, 760  # pixels
LEFT, RIGHT, BOTTOM = 76, 30, 66  # margins, pixels
HEAD_HEIGHT = 116  # height of the title and one line of text, pixels
LINE_HEIGHT = 19  # height of each further line of text, pixels
FLAG_HEIGHT, FLAG_GAP = 18, 6  # pixels
CHARACTER_WIDTH = 7.0  # average width in the text of a flag, pixels
CHARACTERS = 165  # characters per line of text below the title
MIN_COST, COST_TICKS = 0.95, (1, 2, 5, 10, 20, 50, 100, 200)  # full trainings
MIN_SHARE, SHARE_TICKS = 0.4, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
GRID_POINTS = 400  # costs at which the runs are evaluated
# Mostly Okabe and Ito's colours, which most colour-blind people can distinguish.
COLOURS = {
    OURS: "#0072B2",
    UNSEEN: "#003B5C",
    "random": "#7A7A7A",
    "nsga2": "#D55E00",
    "tpe": "#56B4E9",
    "tpe_multivariate": "#009E73",
    "gp": "#CC79A7",
    "ax": "#B8860B",
    "mo_asha": "#6A3D9A",
}


@dataclass(frozen=True)
class Line:
    """The share of the front that one strategy reached, over its cost with free repeats."""

    strategy: str
    # Full trainings.
    costs: NDArray[np.float64]
    # Lower quartile, median and upper quartile of the share, each (len(costs),).
    shares: tuple[NDArray[np.float64], ...]

    @property
    def end(self) -> tuple[float, float]:
        """Median cost at the end of the runs, and the median share at that cost."""
        return float(self.costs[-1]), float(self.shares[1][-1])


def line(strategy: str, runs: Sequence[Run]) -> Line:
    """Return the line of a strategy, up to the median of the costs at which its runs end."""
    ends = [run.curve[-1][0] for run in runs]
    last = float(np.median(ends))
    grid = np.geomspace(1.0, max(last, 1.0), GRID_POINTS)
    shares = np.array([share_at(run, grid) for run in runs])
    low, middle, high = np.quantile(shares, (0.25, 0.5, 0.75), axis=0)
    return Line(strategy, grid, (low, middle, high))


def share_at(run: Run, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share that a run had reached at each cost, clipped to the goal."""
    at = np.array([point[0] for point in run.curve])
    share = np.array([0.0, *(point[2] for point in run.curve)])
    return np.asarray(np.minimum(share[np.searchsorted(at, grid, side="right")], GOAL))


def figure(runs: Sequence[Run], recorded: Table) -> go.Figure:
    """Plot the median and quartiles of the share over the cost. Steps show the largest possible share at each cost."""
    lines = [line(strategy, own) for strategy, own in by_strategy(runs).items()]
    seeds = sorted({len(own) for own in by_strategy(runs).values()})
    description = (
        f"Table {recorded.about['table']}: {len(recorded.entries)} networks, recorded once and replayed. Median and "
        f"quartiles of {' or '.join(map(str, seeds))} seeds; repeated proposals are free. The label at the end of each "
        f"line is the median cost to reach {GOAL:.0%}; >= marks medians over right-censored seeds."
    )
    if recorded.about["caveat"]:
        description += f" Caveat: {recorded.about['caveat']}."
    heading = "<br>".join(textwrap.wrap(description, CHARACTERS))
    right = 1.06 * max(each.end[0] for each in lines)
    flags = list(flags_of(lines, runs, recorded, right))
    top = HEAD_HEIGHT + LINE_HEIGHT * heading.count("<br>") + FLAG_HEIGHT * (1 + max(flag.row for flag in flags))
    chart = go.Figure()
    for each in sorted(lines, key=lambda one: one.strategy == OURS):
        draw_line(chart, each)
    shares = best_shares(recorded)[: oracle(recorded, GOAL)]
    steps = {"color": INK, "width": 1.6, "dash": "dot", "shape": "hv"}
    chart.add_scatter(
        x=list(range(1, len(shares) + 1)), y=[height(share) for share in shares], mode="lines", line=steps
    )
    for flag in flags:
        draw_flag(chart, flag, HEIGHT - top - BOTTOM)
    chart.update_layout(
        layout("Cost of finding the front", heading, top),
        margin={"l": LEFT, "r": RIGHT, "t": top, "b": BOTTOM},
        width=WIDTH,
        height=HEIGHT,
        showlegend=False,
        xaxis=axis(f"cost, full trainings of {RUNGS[-1]} epochs (log scale)")
        | {"type": "log", "range": [np.log10(MIN_COST), np.log10(right)], "tickvals": COST_TICKS},
        yaxis=axis("share of the true front's hypervolume")
        | {
            "range": [height(MIN_SHARE), height(GOAL)],
            "tickvals": [height(share) for share in SHARE_TICKS],
            "ticktext": [f"{share:.0%}" for share in SHARE_TICKS],
        },
    )
    return chart


def height(share: float) -> float:
    """Return the height of a share on the axis. It is logarithmic in 1 - share, so that the last percent is visible."""
    return float(-np.log10(1 - max(0.0, min(share, GOAL))))


def draw_line(chart: go.Figure, each: Line) -> None:
    """Add the line of a strategy and the band between its quartiles."""
    colour, ours = COLOURS[each.strategy], each.strategy == OURS
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    band = f"rgba({red},{green},{blue},{0.2 if ours else 0.09})"
    low, middle, high = ([height(share) for share in shares] for shares in each.shares)
    edge = {"width": 0, "shape": "hv"}
    chart.add_scatter(x=each.costs, y=low, mode="lines", line=edge, hoverinfo="skip")
    chart.add_scatter(x=each.costs, y=high, mode="lines", line=edge, hoverinfo="skip", fill="tonexty", fillcolor=band)
    width = 3.6 if ours else 1.9
    stroke = {"color": colour, "width": width, "shape": "hv"}
    chart.add_scatter(x=each.costs, y=middle, mode="lines", name=TITLES[each.strategy], line=stroke)


@dataclass(frozen=True)
class Flag:
    """A label above the plot. A thin vertical line to its right leads to the end of a strategy's line."""

    text: str
    colour: str
    # Cost and share at the end of the strategy's line.
    at: tuple[float, float]
    # Row of the label above the plot; 0 is the lowest row.
    row: int


def flags_of(lines: Sequence[Line], runs: Sequence[Run], recorded: Table, right: float) -> Iterator[Flag]:
    """Yield the flags from left to right, each in a row where its text does not cross a vertical line."""
    fewest = oracle(recorded, GOAL)
    ends = [(f"fewest possible {fewest}", INK, (float(fewest), GOAL))]
    for each in lines:
        paid = costs(by_strategy(runs)[each.strategy], GOAL, "cached", len(recorded.entries))
        text = f"{TITLES[each.strategy]} {'>= ' if paid.censored else ''}{digits(paid.median)}"
        ends.append((f"<b>{text}</b>" if each.strategy == OURS else text, COLOURS[each.strategy], each.end))
    pixels = (WIDTH - LEFT - RIGHT) / np.log(right / MIN_COST)
    poles: list[tuple[float, int]] = []
    for text, colour, at in sorted(ends, key=lambda end: end[2][0]):
        pole = float(pixels * np.log(at[0] / MIN_COST))
        left = pole - CHARACTER_WIDTH * len(text.removeprefix("<b>").removesuffix("</b>")) - 2 * FLAG_GAP
        row = max((row + 1 for other, row in poles if other > left), default=0)
        poles.append((pole, row))
        yield Flag(text, colour, at, row)


def draw_flag(chart: go.Figure, flag: Flag, pixels: float) -> None:
    """Add a flag above a plot that is `pixels` high."""
    cost, share = flag.at
    low, high = height(MIN_SHARE), height(GOAL)
    top = 1 + (FLAG_GAP + FLAG_HEIGHT * flag.row + FLAG_HEIGHT / 2) / pixels
    foot = (height(share) - low) / (high - low)
    pole = {"color": flag.colour, "width": 1}
    chart.add_shape(type="line", xref="x", yref="paper", x0=cost, x1=cost, y0=foot, y1=top + 6 / pixels, line=pole)
    chart.add_annotation(
        x=np.log10(cost),
        y=top,
        xref="x",
        yref="paper",
        text=flag.text,
        font={"size": 13, "color": flag.colour},
        showarrow=False,
        xanchor="right",
        yanchor="middle",
        xshift=-FLAG_GAP / 2,
    )


def axis(title: str) -> dict[str, object]:
    """Return the style that both axes share."""
    return {
        "title": {"text": title, "font": {"size": 14, "color": SOFT}, "standoff": 10},
        "tickfont": {"color": SOFT},
        "gridcolor": GRID,
        "linecolor": DOT,
        "showline": True,
        "ticks": "outside",
        "tickcolor": DOT,
        "zeroline": False,
        "minor": {"showgrid": False},
    }
