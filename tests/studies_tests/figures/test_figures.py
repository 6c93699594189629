"""The figure of a front: its points, texts and labels, its panels for several backends, and its PNG."""

from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import plotly.graph_objects as go
import pytest
from choreographer.browsers.chromium import Chromium
from studies_tests.sample import CAVEAT, remeasured, sample_front, sample_loaded

from search.records import Record
from space import Limits
from studies.figures import backends as plots_backends
from studies.figures import chrome
from studies.figures.chrome import NoChrome
from studies.figures.files import SCALE, write_png
from studies.figures.front import HEIGHT, WIDTH, figure
from studies.figures.labels import CHARACTER, RIGHT_FIRST, Box, place, shared
from studies.figures.panel import hover
from studies.fronts.front import ParetoFront, fronts_of
from studies.fronts.moves import moves
from studies.fronts.wording import title, verdict
from threshnet import NAMED
from threshnet.schedules import describe

ALL_NAMED = tuple(NAMED)
NOTHING_FEASIBLE = Limits(params=10)

FRONTS = {
    "usual": sample_front(),
    "all named": sample_front(24, ALL_NAMED, seed=3),
    "no named": sample_front(6, ()),
    "one point": sample_front(0, ("threshnet79",), limits=Limits()),
    "nothing feasible": sample_front(6, limits=NOTHING_FEASIBLE),
}
each_front = pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS.keys())


def trace(chart: go.Figure, name: str) -> go.Scatter:
    """Return the only trace of this name."""
    (named,) = chart.select_traces({"name": name})
    return named


def hovers(chart: go.Figure) -> list[str]:
    """List the hover texts of a figure, each as one line."""
    return [text.replace("<br>", " ") for trace in chart.data for text in trace.hovertext or ()]


@each_front
def test_hover_texts_contain_schedule_and_costs(front: ParetoFront) -> None:
    texts = hovers(figure(front))
    for record in front.trained:
        (text, *duplicates) = [text for text in texts if text == hover(record, front).replace("<br>", " ")]
        assert len(duplicates) <= (1 if record.named else 0)  # a named network on the front has two markers
        assert record.network is not None
        for number, block in enumerate(record.network.blocks, start=1):
            description = (
                f"block {number}: {block.depth} layers {describe(block.links)}, {block.unit}, growth {block.growth}"
            )
            assert description in text
        assert f"{record.error:.2f} %" in text
        assert f"trial {record.number}" in text
        assert ("violates " in text) == (record.state == "infeasible")


@each_front
def test_named_networks_have_a_label_and_a_verdict(front: ParetoFront) -> None:
    chart = figure(front)
    labels = [annotation.text for annotation in chart.layout.annotations]
    for point in front.named:
        assert sum(label.startswith(title(point.record)) for label in labels) == 1
        assert verdict(point) in hover(point.record, front).replace("<br>", " ")
        assert (point.record.named == "threshnet28") == ("a reconstruction" in hover(point.record, front))
    assert any(label.startswith("knee") for label in labels) == (front.knee is not None)


def test_an_exclamation_mark_flags_unreliable_latencies() -> None:
    front = FRONTS["usual"]

    def flagged(record: Record) -> Record:
        backend, latency = next(iter(record.latency.items()))
        return replace(record, latency={backend: replace(latency, warnings=("busy device: 1.2 times",))})

    trained, members = (tuple(map(flagged, records)) for records in (front.trained, front.front))
    named = tuple(replace(point, record=flagged(point.record)) for point in front.named)
    chart = figure(replace(front, trained=trained, front=members, named=named, picked=flagged(front.picked)))
    labels = [annotation.text for annotation in chart.layout.annotations]
    assert labels
    assert all(label.endswith(" !") or label == "knee" for label in labels)
    assert "! unreliable latency" in chart.layout.title.subtitle.text
    assert any("! busy device: 1.2 times" in text for line in chart.data for text in line.hovertext or ())


def test_labels_of_named_networks_do_not_overlap() -> None:
    point, frame = (100.0, 100.0), (0.0, 0.0, 400.0, 200.0)
    first = place(point, "ThreshNet79", 13, RIGHT_FIRST, [], frame)
    second = place(point, "ThreshNet95", 13, RIGHT_FIRST, [first.box], frame)
    assert first.annotation["xanchor"] == "left"
    assert (first.covered, second.covered, shared(first.box, second.box)) == (0, 0, 0.0)
    at_the_edge = place((395.0, 100.0), "HarDNet85", 13, RIGHT_FIRST, [], frame)
    assert at_the_edge.box[2] <= frame[2]


@each_front
def test_the_front_is_a_descending_staircase(front: ParetoFront) -> None:
    line = trace(figure(front), "Pareto front")
    assert (line.line.shape, line.mode) == ("hv", "lines+markers")
    assert list(zip(line.x, line.y, strict=True)) == [record.point for record in front.front]
    assert list(line.x) == sorted(line.x)
    assert list(line.y) == sorted(line.y, reverse=True)


@each_front
def test_intervals_enclose_the_medians(front: ParetoFront) -> None:
    for points in figure(front).data:
        if points.error_x.array:
            assert min(points.error_x.array) >= 0
            assert min(points.error_x.arrayminus) >= 0


def test_infeasible_networks_are_hollow() -> None:
    chart = figure(FRONTS["usual"])
    assert trace(chart, "trained, infeasible").marker.color == "white"
    assert trace(chart, "published, infeasible").marker.color == "white"
    assert set(trace(chart, "Pareto front").marker.color).isdisjoint({"white"})
    hollow = figure(FRONTS["nothing feasible"])
    assert set(trace(hollow, "Pareto front").marker.color) == {"white"}
    assert "No network satisfies all constraints" in hollow.layout.title.subtitle.text


def test_conditions_and_caveat_are_shown() -> None:
    text = figure(FRONTS["usual"]).layout.title.subtitle.text
    for part in ("14 trained networks, one training each", "Imaginary CPU", "onnxruntime 1.22.0, 1 thread", "batch 1"):
        assert part in text
    assert "input 32 x 32" in text
    assert CAVEAT in text


@each_front
def test_every_point_is_inside_the_axes(front: ParetoFront) -> None:
    layout = figure(front).layout
    low, high = (10**end if layout.xaxis.type == "log" else end for end in layout.xaxis.range)
    assert low < min(record.point[0] for record in front.trained)
    assert max(record.point[0] for record in front.trained) < high
    assert layout.yaxis.range[0] < min(record.point[1] for record in front.trained)
    if layout.xaxis.type == "log":
        assert len(layout.xaxis.tickvals) >= 4


@pytest.mark.services
def test_png_is_drawn_at_twice_the_size(tmp_path: Path) -> None:
    file = tmp_path / "front.png"
    write_png([FRONTS["usual"]], file)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (SCALE * WIDTH, SCALE * HEIGHT)


def test_a_missing_chrome_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: None)
    with pytest.raises(NoChrome, match=r"^no Chrome or Chromium found; install one, or name its file in BROWSER_PATH$"):
        write_png([FRONTS["usual"]], tmp_path / "front.png")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("script", "message"),
    [("exec sleep 60", "Chrome did not answer within 1 s"), ("echo broken >&2; exit 3", "Chrome failed")],
)
def test_a_chrome_that_hangs_or_crashes_is_reported_in_one_line(
    script: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    browser = tmp_path / "chrome"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: str(browser))
    monkeypatch.setattr(chrome, "TIMEOUT_S", 1.0)
    with pytest.raises(NoChrome, match=message) as failure:
        write_png([FRONTS["one point"]], tmp_path / "front.png")
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "front.png").exists()
    assert capfd.readouterr() == ("", "")


# Several backends

PI = "ssh://pi@raspberrypi.local:2222"
TWO = remeasured(sample_loaded(20, ALL_NAMED), "cpu", "torch")
THREE = remeasured(remeasured(sample_loaded(20, ALL_NAMED, seed=2), "cpu", "torch"), PI, "onnxruntime", {3, 9}, seed=5)
FOUR = remeasured(THREE, "cuda", "torch-graph", seed=6)
STUDIES = {"two": fronts_of(TWO), "three": fronts_of(THREE)}
each_study = pytest.mark.parametrize("fronts", STUDIES.values(), ids=STUDIES.keys())


def latency_axis(number: int) -> str:
    """Return plotly's name of the latency axis of a panel."""
    return f"x{number}" if number > 1 else "x"


def panel(chart: go.Figure, number: int) -> list[go.Scatter]:
    """List the traces of a panel, without those of the legend."""
    return [trace for trace in chart.data if trace.xaxis == latency_axis(number) and trace.x != (None,)]


def labels(chart: go.Figure, number: int) -> list[str]:
    """List the labels of the points of a panel."""
    return [annotation.text for annotation in chart.layout.annotations if annotation.xref == latency_axis(number)]


@each_study
def test_each_backend_has_a_panel_with_its_own_front_and_all_share_the_error_axis(
    fronts: tuple[ParetoFront, ...],
) -> None:
    chart = plots_backends.figure(fronts)
    above = [annotation.text for annotation in chart.layout.annotations if annotation.xref == "paper"]
    for number, front in enumerate(fronts, start=1):
        (line,) = [trace for trace in panel(chart, number) if trace.name == "Pareto front"]
        assert list(zip(line.x, line.y, strict=True)) == [record.point for record in front.front]
        shown = [text for trace in panel(chart, number) for text in trace.hovertext or ()]
        assert {hover(record, front) for record in front.trained} == set(shown)
        assert front.backend in above[number - 1]
        low, high = chart.layout[f"xaxis{number}"].range
        assert 10**low < min(record.point[0] for record in front.trained)
        assert max(record.point[0] for record in front.trained) < 10**high
    assert {trace.yaxis or "y" for trace in chart.data} == {"y"}
    domains = [chart.layout[f"xaxis{number}"].domain for number, _ in enumerate(fronts, start=1)]
    assert [domains[0][0], domains[-1][1]] == [0, 1]
    assert all(left[1] < right[0] for left, right in pairwise(domains))


@each_study
def test_networks_that_moved_have_the_same_symbol_and_a_label_in_every_panel(fronts: tuple[ParetoFront, ...]) -> None:
    chart = plots_backends.figure(fronts)
    changes = [moves(fronts[0], front) for front in fronts[1:]]
    expected = {one.here.number: "triangle-up" for change in changes for one in change.joined}
    expected |= {one.here.number: "triangle-down" for change in changes for one in change.left}
    assert {"triangle-up", "triangle-down"} <= set(expected.values())
    for number, front in enumerate(fronts, start=1):
        by_hover = {hover(record, front): record.number for record in front.trained}
        symbols = {
            by_hover[text]: symbol
            for trace in panel(chart, number)
            for text, symbol in zip(trace.hovertext or (), trace.marker.symbol or (), strict=False)
        }
        marked = {trial: symbol for trial, symbol in symbols.items() if symbol.startswith("triangle")}
        assert marked == {trial: symbol for trial, symbol in expected.items() if trial in by_hover.values()}
        for record in front.trained:
            if record.number in expected and not record.named:
                texts = (str(record.number), f"knee: trial {record.number}")
                assert sum(label in texts for label in labels(chart, number)) == 1
        for point in front.named:
            assert sum(label.startswith(title(point.record)) for label in labels(chart, number)) == 1
    names = {trace.name for trace in chart.data if trace.showlegend}
    assert {"joined the front elsewhere", "left the front elsewhere", "Pareto front"} <= names


def label_boxes(chart: go.Figure, width: int, number: int) -> list[Box]:
    """Compute the boxes of the labels of a panel, relative to the panel's width and height, y downwards."""
    layout, axis = chart.layout, chart.layout[f"xaxis{number}"]
    panel_width = (width - layout.margin.l - layout.margin.r) * (axis.domain[1] - axis.domain[0])
    panel_height = layout.height - layout.margin.t - layout.margin.b
    boxes = []
    for label in [one for one in layout.annotations if one.xref == latency_axis(number)]:
        x = (label.x - axis.range[0]) / (axis.range[1] - axis.range[0]) + label.xshift / panel_width
        y = (layout.yaxis.range[1] - label.y) / (
            layout.yaxis.range[1] - layout.yaxis.range[0]
        ) - label.yshift / panel_height
        right, down = CHARACTER * label.font.size * len(label.text) / panel_width, label.font.size / panel_height
        left = x - right * {"left": 0.0, "center": 0.5, "right": 1.0}[label.xanchor]
        top = y - down * {"top": 0.0, "middle": 0.5, "bottom": 1.0}[label.yanchor]
        boxes.append((left, top, left + right, top + down))
    return boxes


@each_study
def test_labels_neither_overlap_nor_leave_their_panel(fronts: tuple[ParetoFront, ...]) -> None:
    chart = plots_backends.figure(fronts)
    for number, _ in enumerate(fronts, start=1):
        boxes = label_boxes(chart, plots_backends.width(fronts), number)
        assert len(boxes) > 6
        assert min(edge for box in boxes for edge in box) >= 0
        assert max(edge for box in boxes for edge in box) <= 1
        assert not any(shared(a, b) for a, b in combinations(boxes, 2))


def test_a_fourth_backend_is_mentioned_but_not_drawn() -> None:
    chart = plots_backends.figure(fronts_of(FOUR))
    assert "Not shown: cuda torch-graph" in chart.layout.title.subtitle.text
    assert "on 4 backends" in chart.layout.title.text
    assert {trace.xaxis for trace in chart.data if trace.x != (None,)} == {"x", "x2", "x3"}


@pytest.mark.services
def test_a_png_of_several_backends_is_wider(tmp_path: Path) -> None:
    file = tmp_path / "fronts.png"
    write_png(STUDIES["two"], file)
    data = file.read_bytes()
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    assert width == SCALE * plots_backends.width(STUDIES["two"])
    assert height > SCALE * HEIGHT
