"""The front as a picture: one interactive HTML file that needs no network, and a PNG where a Chrome is installed."""

import html
import itertools
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

from search.records import Record
from studies.chrome import NoChrome, draw
from studies.front import Front, reading, title, verdict
from studies.labels import OUTSIDE_FIRST, RIGHT_FIRST, Box, place
from threshnet.named import ABOUT
from threshnet.schedules import describe
from threshnet.spec import BlockSpec

WIDTH, HEIGHT, SCALE = 1120, 720, 2  # pixels of the PNG before scaling; the HTML keeps the height
LEFT, RIGHT, BOTTOM = 76, 36, 72  # margins, pixels
LOG_RANGE = 5.0  # a latency axis over more than this ratio is logarithmic
PADDING = 0.07  # of the axes beyond the outermost points, a share of their range
LINE = 160  # characters in a line below the title
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

__all__ = ["NoChrome", "figure", "hover", "write_html", "write_png"]

# Okabe and Ito's colour-blind-safe blue and vermillion, on greys.
BLUE, VERMILLION = "#0072B2", "#D55E00"
INK, SOFT, DOT, GRID = "#1F2933", "#52606D", "#8A97A6", "#E6EAEE"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0 auto; max-width: 1400px; min-width: 1000px; background: white; }}</style>
</head>
<body>
{figure}
</body>
</html>
"""


def figure(front: Front) -> go.Figure:
    """Latency against validation error of every trained network, the front as a staircase, named networks labelled."""
    latencies = [x for r in front.trained for x in (r.point[0], reading(r).low_ms, reading(r).high_ms)]
    xs = _axis(latencies, log=max(latencies) > LOG_RANGE * min(latencies))
    errors = [record.point[1] for record in front.trained]
    ys = _axis(errors, log=0 < LOG_RANGE * min(errors) < max(errors))
    chart = go.Figure()
    on_front = {record.number for record in front.front}
    quiet = [record for record in front.trained if record.number not in on_front and not record.named]
    for over, name in ((False, "trained network"), (True, "trained, over a limit")):
        records = [record for record in quiet if _over(record) is over]
        marker = {"size": 8, "color": "white" if over else DOT, "line": {"width": 1.4, "color": DOT}}
        chart.add_trace(_markers(records, name, front, marker))
    for trace in _staircase(front, xs.high, ys.high):
        chart.add_trace(trace)
    knee = {"size": 22, "symbol": "circle-open", "color": BLUE, "line": {"width": 1.6}}
    x, y = front.knee.point
    chart.add_scatter(x=[x], y=[y], mode="markers", marker=knee, name="knee", showlegend=False, hoverinfo="skip")
    for over, name in ((False, "published network"), (True, "published, over a limit")):
        records = [point.record for point in front.named if _over(point.record) is over]
        fill = "white" if over else VERMILLION
        marker = {"size": 13, "symbol": "diamond", "color": fill, "line": {"width": 2, "color": VERMILLION}}
        chart.add_trace(_markers(records, name, front, marker))
    heading = _heading(front)
    top = 108 + 19 * heading.count("<br>")
    for label, spot in _placed(_labels(front), front, xs, ys, top):
        x, y = (math.log10(at) if axis.log else at for at, axis in zip(label.record.point, (xs, ys), strict=True))
        chart.add_annotation(x=x, y=y, text=label.text, font=label.font, **spot)
    chart.update_layout(
        title={
            "text": f"<b>Pareto front of {html.escape(front.study)}</b>",
            "subtitle": {"text": heading, "font": {"size": 13, "color": SOFT}},
            "font": {"size": 21, "color": INK},
            "x": 0,
            "xanchor": "left",
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 24, "l": 24},
        },
        height=HEIGHT,
        margin={"l": LEFT, "r": RIGHT, "t": top, "b": BOTTOM},
        font={"family": FONT, "size": 13, "color": INK},
        plot_bgcolor="white",
        paper_bgcolor="white",
        hovermode="closest",
        hoverlabel={
            "bgcolor": "white",
            "bordercolor": DOT,
            "align": "left",
            "font": {"family": FONT, "size": 13, "color": INK},
            "namelength": 0,
        },
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.012,
            "yanchor": "bottom",
            "font": {"color": SOFT},
        },
        xaxis=xs.layout("latency of one run (ms), lower is better"),
        yaxis=ys.layout("validation error (%), lower is better"),
    )
    return chart


def write_html(front: Front, path: Path) -> None:
    """Write the figure as one interactive file with plotly.js inside."""
    chart = plotly.io.to_html(
        figure(front),
        include_plotlyjs=True,
        full_html=False,
        default_width="100%",
        config={
            "responsive": True,
            "displaylogo": False,
            "showSendToCloud": False,  # plotly.js 4 would offer to upload the chart
            "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
            "toImageButtonOptions": {"filename": front.study, "scale": SCALE},
        },
    )
    page = PAGE.format(title=html.escape(f"Pareto front of {front.study}"), figure=chart)
    path.write_text(page, encoding="utf-8")


def write_png(front: Front, path: Path) -> None:
    """Write the figure as a PNG; NoChrome where none can draw it."""
    path.write_bytes(draw(figure(front), WIDTH, HEIGHT, SCALE))


def hover(record: Record, front: Front) -> str:
    """What the figure tells of a network under the pointer, as plotly's HTML."""
    latency = reading(record)
    lines = [
        f"<b>{title(record)}</b>" + (f", trial {record.number}" if record.named else ""),
        f"error {record.error:.2f} %",
        f"latency {record.latency_ms:.3g} ms, 95 % interval {latency.low_ms:.3g} to {latency.high_ms:.3g} ms",
        f"{record.costs['params'] / 1e6:.3g} M parameters, {record.costs['macs'] / 1e6:.3g} M MACs",
    ]
    if record.network:
        lines += [f"block {number}: {_block(block)}" for number, block in enumerate(record.network.blocks, start=1)]
    if _over(record):
        broken = ", ".join(
            f"{name} by {100 * excess:.0f} %" for name, excess in record.constraints.items() if excess > 0
        )
        lines.append(f"over the limit of {broken}")
    lines += [f"<b>{verdict(point)}</b>" for point in front.named if point.record.number == record.number]
    if record.named and _reconstructed(record):
        lines.append(ABOUT[record.named].origin)
    return "<br>".join(part for line in lines for part in textwrap.wrap(line, 90))


def _block(block: BlockSpec) -> str:
    layers = f"{block.depth} layer{'s' if block.depth > 1 else ''}"
    pool = ", pool" if block.pool else ""
    return f"{layers} {describe(block.links)}, {block.unit}, growth {block.growth} -> {block.transition}{pool}"


def _heading(front: Front) -> str:
    """What the study is and how its numbers were taken, in lines."""
    latency = reading(front.knee)
    processor = "" if latency.processor in ("", latency.device) else f" ({latency.processor})"
    feasible = sum(not _over(record) for record in front.trained)
    counted = [
        f"{len(front.trained)} trained network{'s' if len(front.trained) > 1 else ''}, one training each",
        "numbers beside the front are trials",
        "bars: 95 % interval of the median latency",
    ]
    conditions = [
        f"{latency.device}{processor}",
        f"{latency.runtime} {latency.runtime_version}, {latency.threads} thread{'s' if latency.threads > 1 else ''}",
        f"batch {latency.batch}",
        f"input {latency.input_size} x {latency.input_size}",
        latency.precision,
    ]
    caveat = f"Caveat: {front.caveat}" if front.caveat else ""
    texts = [front.about, "; ".join(counted), f"Latency on {'; '.join(conditions)}", caveat]
    if not feasible:
        texts.append("No network keeps every limit: this front is of networks over a limit")
    return "<br>".join(html.escape(line, quote=False) for text in texts for line in textwrap.wrap(text, LINE))


@dataclass(frozen=True)
class _Axis:
    """The visible part of an axis, in its unit."""

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Where a value lies along the axis, 0 to 1."""
        ends = (self.low, self.high, value)
        low, high, place = (math.log10(end) for end in ends) if self.log else ends
        return (place - low) / (high - low)

    def layout(self, text: str) -> dict[str, Any]:
        """The axis as plotly takes it."""
        ends = [math.log10(end) if self.log else end for end in (self.low, self.high)]
        ticks = {"tickvals": _ticks(self.low, self.high)} if self.log else {"nticks": 8}
        return ticks | {
            "title": {"text": text, "font": {"size": 14, "color": SOFT}, "standoff": 12},
            "type": "log" if self.log else "linear",
            "range": ends,
            "tickfont": {"color": SOFT},
            "tickformat": "~g",
            "gridcolor": GRID,
            "linecolor": DOT,
            "ticks": "outside",
            "tickcolor": DOT,
            "zeroline": False,
        }


def _axis(values: Sequence[float], log: bool) -> _Axis:
    """An axis with room around the values, also where they are all equal."""
    low, high = min(values), max(values)
    if log:
        room = (high / low) ** PADDING
        return _Axis(low / room, high * room, log)
    pad = max((high - low) * PADDING, 0.02 * high) or 1.0
    return _Axis(max(low - pad, 0.0), high + pad, log)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the ends of a logarithmic axis: 1-2-5, or finer where that gives fewer than five."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [t for t in (float(f"{step}e{decade}") for decade in decades for step in steps) if low <= t <= high]
        if len(ticks) >= 5:
            break
    return ticks


def _markers(records: Sequence[Record], name: str, front: Front, marker: dict[str, Any], **more: object) -> go.Scatter:
    """Networks as markers with their interval and hover text; absent from the legend where there are none."""
    readings = [reading(record) for record in records]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [latency.high_ms - latency.median_ms for latency in readings],
        "arrayminus": [latency.median_ms - latency.low_ms for latency in readings],
        "color": marker["line"]["color"],
        "thickness": 1,
        "width": 0,
    }
    return go.Scatter(
        x=[record.latency_ms for record in records],
        y=[record.error for record in records],
        error_x=bars,
        hovertext=[hover(record, front) for record in records],
        hoverinfo="text",
        name=name,
        marker=marker,
        showlegend=bool(records),
        **({"mode": "markers", "cliponaxis": False} | more),
    )


def _staircase(front: Front, right: float, top: float) -> list[go.Scatter]:
    """The edge of what the front attains: steps from network to network, and dotted lines on to the plot's edges."""
    (first, start), (last, end) = front.front[0].point, front.front[-1].point
    dots = go.Scatter(
        x=[first, first, None, last, right],
        y=[top, start, None, end, end],
        mode="lines",
        line={"color": BLUE, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
        name="edge",
    )
    over = [_over(record) for record in front.front]
    marker = {"size": 11, "color": ["white" if o else BLUE for o in over], "line": {"width": 2, "color": BLUE}}
    line = {"color": BLUE, "width": 2.2, "shape": "hv"}
    return [dots, _markers(front.front, "Pareto front", front, marker, mode="lines+markers", line=line)]


def _over(record: Record) -> bool:
    """Whether a trained network is over a limit of its study."""
    return record.state == "infeasible"


@dataclass(frozen=True)
class _Label:
    """A text beside a network."""

    record: Record
    text: str
    font: dict[str, Any]
    # Left out where there is no free room beside the network, unless it must be there.
    required: bool


def _labels(front: Front) -> list[_Label]:
    """The names of the named networks, the knee, and the trial numbers of the front, in order of importance."""
    labels = []
    for point in front.named:
        text = title(point.record) + (" (reconstructed)" if _reconstructed(point.record) else "")
        labels.append(_Label(point.record, text, {"size": 13, "color": VERMILLION}, required=True))
    knee = "knee" if front.knee.named else f"knee: trial {front.knee.number}"
    labels.append(_Label(front.knee, knee, {"size": 12, "color": BLUE}, required=True))
    others = [record for record in front.front if not record.named and record is not front.knee]
    return labels + [
        _Label(record, str(record.number), {"size": 11, "color": BLUE}, required=False) for record in others
    ]


def _placed(
    labels: Sequence[_Label], front: Front, xs: _Axis, ys: _Axis, top: float
) -> Iterator[tuple[_Label, dict[str, Any]]]:
    """Each label where it covers least of the points, the lines and the labels before it, as an annotation's place."""
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - top - BOTTOM

    def pixel(x: float, y: float) -> tuple[float, float]:
        return LEFT + across * xs.share(x), top + down * (1 - ys.share(y))

    taken: list[Box] = []
    for record in front.trained:
        x, y = pixel(*record.point)
        (low, _), (high, _) = pixel(reading(record).low_ms, ys.low), pixel(reading(record).high_ms, ys.low)
        taken += [(x - 8, y - 8, x + 8, y + 8), (low, y - 2, high, y + 2)]
    corners = [(front.front[0].point[0], ys.high), *(r.point for r in front.front), (xs.high, front.front[-1].point[1])]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        (left, upper), (right, lower) = pixel(x0, y0), pixel(x1, y1)
        taken += [(left - 2, upper - 2, right + 2, upper + 2), (right - 2, upper - 2, right + 2, lower + 2)]
    frame = (LEFT, top, WIDTH - RIGHT, HEIGHT - BOTTOM)
    for label in labels:
        size, sides = label.font["size"], OUTSIDE_FIRST if label.record in front.front else RIGHT_FIRST
        spot = place(pixel(*label.record.point), label.text, size, sides, taken, frame)
        if label.required or spot.covered == 0:
            taken.append(spot.box)
            yield label, spot.annotation


def _reconstructed(record: Record) -> bool:
    return record.named is not None and ABOUT[record.named].origin.startswith("a reconstruction")
