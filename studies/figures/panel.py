"""One panel of a figure, with the points, lines and labels of a front."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from search.records import Record, reading
from search.training.metrics import METRICS
from studies.figures.axes import Axis, Plot
from studies.figures.labels import OUTSIDE_FIRST, RIGHT_FIRST, Box, place
from studies.fronts.front import ParetoFront
from studies.fronts.wording import UNRELIABLE_NOTE, flag, title, verdict, violations
from threshnet.named import ABOUT
from threshnet.schedules import describe
from threshnet.spec import BlockSpec

# Okabe and Ito's colour-blind-safe blue and vermillion, combined with greys.
BLUE, VERMILLION = "#0072B2", "#D55E00"
FRONT = BLUE
INK, SOFT, DOT, GRID = "#1F2933", "#52606D", "#8A97A6", "#E6EAEE"
MOVED_EXTRA = 4  # extra size of the symbol of a network that moved, pixels


@dataclass(frozen=True)
class Panel:
    """A front and its place in the figure."""

    front: ParetoFront
    # The axes: latency in ms, error in percent.
    xs: Axis
    ys: Axis
    # Edges of the plot in pixels of the figure.
    frame: Box
    # Plotly's symbol for each network that joined or left a front, by trial number. These networks are all labelled.
    moved: Mapping[int, str] = field(default_factory=dict)
    # Suffix for the name of a reconstructed network.
    reconstructed: str = " (reconstructed)"


def traces(panel: Panel) -> Iterator[go.Scatter]:
    """Yield the traces: trained networks with intervals, the front as a staircase, a knee, and the named networks."""
    front = panel.front
    on_front = {record.number for record in front.front}
    plain = [record for record in front.trained if record.number not in on_front and not record.named]
    for hollow in (False, True):
        records = [record for record in plain if excluded(record) is hollow]
        name = f"trained, {exclusions(records)}" if hollow else "trained network"
        marker = {"size": 8, "color": "white" if hollow else DOT, "line": {"width": 1.4, "color": DOT}}
        yield _markers(records, name, panel, marker)
    yield from _staircase(panel)
    if front.knee:
        circle = {"size": 22, "symbol": "circle-open", "color": FRONT, "line": {"width": 1.6}}
        x, y = front.knee.point
        yield go.Scatter(x=[x], y=[y], mode="markers", marker=circle, name="knee", showlegend=False, hoverinfo="skip")
    for hollow in (False, True):
        records = [point.record for point in front.named if excluded(point.record) is hollow]
        name = f"published, {exclusions(records)}" if hollow else "published network"
        fill = "white" if hollow else VERMILLION
        marker = {"size": 13, "symbol": "diamond", "color": fill, "line": {"width": 2, "color": VERMILLION}}
        yield _markers(records, name, panel, marker)


def annotations(panel: Panel) -> Iterator[dict[str, Any]]:
    """Yield the labels as plotly annotations, placed to cover points, lines and other labels as little as possible."""
    front, xs, ys = panel.front, panel.xs, panel.ys
    pixel = Plot(xs, ys, panel.frame).pixel
    taken: list[Box] = []
    for record in front.trained:
        x, y = pixel(*record.point)
        (low, _), (high, _) = pixel(reading(record).low_ms, ys.low), pixel(reading(record).high_ms, ys.low)
        half = 10 if record.number in panel.moved else 8
        taken += [(x - half, y - half, x + half, y + half), (low, y - 2, high, y + 2)]
    corners = [(front.front[0].point[0], ys.high), *(r.point for r in front.front), (xs.high, front.front[-1].point[1])]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        (near, upper), (far, lower) = pixel(x0, y0), pixel(x1, y1)
        taken += [(near - 2, upper - 2, far + 2, upper + 2), (far - 2, upper - 2, far + 2, lower + 2)]
    for label in _labels(panel):
        size, sides = label.font["size"], OUTSIDE_FIRST if label.record in front.front else RIGHT_FIRST
        spot = place(pixel(*label.record.point), label.text, size, sides, taken, panel.frame)
        if label.required or spot.covered == 0:
            taken.append(spot.box)
            x, y = (axis.coordinate(at) for at, axis in zip(label.record.point, (xs, ys), strict=True))
            yield {"x": x, "y": y, "text": label.text, "font": label.font, **spot.annotation}


def hover(record: Record, front: ParetoFront) -> str:
    """Return the hover text of a network in plotly's HTML."""
    latency = reading(record)
    lines = [
        f"<b>{title(record)}</b>" + (f", trial {record.number}" if record.named else ""),
        f"{METRICS[front.metric].prefix}error {record.error:.2f} %",
        f"latency {record.latency_ms:.3g} ms, 95 % interval {latency.low_ms:.3g} to {latency.high_ms:.3g} ms",
        *(
            f"{backend}: {other.latency_ms:.3g} ms"
            for backend, other in record.latency.items()
            if backend != front.backend
        ),
        f"{record.costs['params'] / 1e6:.3g} M parameters, {record.costs['macs'] / 1e6:.3g} M MACs",
    ]
    if record.network:
        lines += [f"block {number}: {_block(block)}" for number, block in enumerate(record.network.blocks, start=1)]
    if infeasible(record):
        lines.append(f"violates {violations(record)}")
    if record.postponed:
        lines.append(UNRELIABLE_NOTE)
    lines += [f"! {warning}" for warning in latency.warnings]
    lines += [f"<b>{verdict(point)}</b>" for point in front.named if point.record.number == record.number]
    if record.named and reconstructed(record):
        lines.append(ABOUT[record.named].origin)
    return "<br>".join(part for line in lines for part in textwrap.wrap(line, 90))


def infeasible(record: Record) -> bool:
    """True if a trained network violates a constraint of the study."""
    return record.state == "infeasible"


def excluded(record: Record) -> bool:
    """True if a trained network cannot be on the front: it is infeasible, or its latency is unreliable."""
    return infeasible(record) or record.postponed


def exclusions(records: Sequence[Record]) -> str:
    """Return why networks cannot be on the front: "infeasible", "latency unreliable" or both."""
    kinds = {"infeasible" if infeasible(record) else "latency unreliable" for record in records}
    return " or ".join(sorted(kinds)) or "infeasible"


def reconstructed(record: Record) -> bool:
    """True if a published network is only available as a reconstruction."""
    return record.named in ABOUT and ABOUT[record.named].origin.startswith("a reconstruction")


def _block(block: BlockSpec) -> str:
    layers = f"{block.depth} layer{'s' if block.depth > 1 else ''}"
    pool = ", pool" if block.pool else ""
    return f"{layers} {describe(block.links)}, {block.unit}, growth {block.growth} -> {block.transition}{pool}"


def _markers(records: Sequence[Record], name: str, panel: Panel, marker: dict[str, Any], **more: object) -> go.Scatter:
    """Draw networks as markers with their intervals and hover texts. If there are none, there is no legend entry."""
    readings = [reading(record) for record in records]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [latency.high_ms - latency.latency_ms for latency in readings],
        "arrayminus": [latency.latency_ms - latency.low_ms for latency in readings],
        "color": marker["line"]["color"],
        "thickness": 1,
        "width": 0,
    }
    if panel.moved:
        symbol, size = marker.get("symbol", "circle"), marker["size"]
        marker = marker | {
            "symbol": [panel.moved.get(record.number, symbol) for record in records],
            "size": [size + MOVED_EXTRA if record.number in panel.moved else size for record in records],
            "opacity": 1,  # plotly makes markers transparent if their sizes differ
        }
    return go.Scatter(
        x=[record.latency_ms for record in records],
        y=[record.error for record in records],
        error_x=bars,
        hovertext=[hover(record, panel.front) for record in records],
        hoverinfo="text",
        name=name,
        marker=marker,
        showlegend=bool(records),
        **({"mode": "markers", "cliponaxis": False} | more),
    )


def _staircase(panel: Panel) -> list[go.Scatter]:
    """Draw the attainment staircase: steps between the networks, and dotted lines to the edges of the plot."""
    front = panel.front.front
    (first, start), (last, end) = front[0].point, front[-1].point
    dots = go.Scatter(
        x=[first, first, None, last, panel.xs.high],
        y=[panel.ys.high, start, None, end, end],
        mode="lines",
        line={"color": FRONT, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
        name="edge",
    )
    marker = {
        "size": 11,
        "color": ["white" if excluded(record) else FRONT for record in front],
        "line": {"width": 2, "color": FRONT},
    }
    line = {"color": FRONT, "width": 2.2, "shape": "hv"}
    return [dots, _markers(front, "Pareto front", panel, marker, mode="lines+markers", line=line)]


@dataclass(frozen=True)
class _Label:
    """A text next to a network."""

    record: Record
    text: str
    font: dict[str, Any]
    # If False, the label is omitted when there is no room.
    required: bool


def _labels(panel: Panel) -> Iterator[_Label]:
    """Yield labels in order of importance: named networks, the knee, networks that moved, the others on the front."""
    front, knee = panel.front, panel.front.knee
    for point in front.named:
        text = title(point.record) + (panel.reconstructed if reconstructed(point.record) else "")
        text += flag(point.record)
        yield _Label(point.record, text, {"size": 13, "color": VERMILLION}, required=True)
    if knee:
        text = "knee" if knee.named else f"knee: trial {knee.number}{flag(knee)}"
        yield _Label(knee, text, {"size": 12, "color": FRONT}, required=True)
    others = [record for record in front.trained if not record.named and record is not knee]
    for record in others:
        if record.number in panel.moved:
            font = {"size": 12, "color": INK, "weight": "bold"}
            yield _Label(record, f"{record.number}{flag(record)}", font, required=True)
    for record in others:
        if record.number not in panel.moved and record in front.front:
            yield _Label(record, f"{record.number}{flag(record)}", {"size": 11, "color": FRONT}, required=False)
