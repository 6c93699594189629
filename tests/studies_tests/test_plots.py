"""The figure of a front: what it tells, that it needs no network, and what happens where no Chrome is."""

import re
from pathlib import Path

import plotly.graph_objects as go
import pytest
from choreographer.browsers.chromium import Chromium
from plotly.offline import get_plotlyjs
from studies_tests.sample import CAVEAT, sample_front

from space import Limits
from studies import chrome
from studies.front import Front, title, verdict
from studies.labels import RIGHT_FIRST, place, shared
from studies.plots import HEIGHT, SCALE, WIDTH, NoChrome, figure, hover, write_html, write_png
from threshnet import NAMED
from threshnet.schedules import describe

ALL_NAMED = tuple(NAMED)
NOTHING_FEASIBLE = Limits(params=10)
NO_CHROME = "no Chrome or Chromium is installed"

FRONTS = {
    "usual": sample_front(),
    "all named": sample_front(24, ALL_NAMED, seed=3),
    "no named": sample_front(6, ()),
    "one point": sample_front(0, ("threshnet79",), limits=Limits()),
    "nothing feasible": sample_front(6, limits=NOTHING_FEASIBLE),
}
each_front = pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS.keys())


def trace(chart: go.Figure, name: str) -> go.Scatter:
    """The only trace of that name."""
    (found,) = chart.select_traces({"name": name})
    return found


def hovers(chart: go.Figure) -> list[str]:
    """Every hover text of a figure, its lines joined."""
    return [text.replace("<br>", " ") for trace in chart.data for text in trace.hovertext or ()]


@each_front
def test_every_trained_network_tells_its_schedule_and_costs(front: Front) -> None:
    texts = hovers(figure(front))
    for record in front.trained:
        (found, *again) = [text for text in texts if text == hover(record, front).replace("<br>", " ")]
        assert len(again) <= (1 if record.named else 0)  # one that is on the front too has both markers
        assert record.network is not None
        for number, block in enumerate(record.network.blocks, start=1):
            words = f"block {number}: {block.depth} layers {describe(block.links)}, {block.unit}, growth {block.growth}"
            assert words in found
        assert f"{record.error:.2f} %" in found
        assert f"trial {record.number}" in found
        assert ("over the limit of" in found) == (record.state == "infeasible")


@each_front
def test_named_networks_are_labelled_and_have_their_verdict(front: Front) -> None:
    chart = figure(front)
    labels = [annotation.text for annotation in chart.layout.annotations]
    for point in front.named:
        assert sum(label.startswith(title(point.record)) for label in labels) == 1
        assert verdict(point) in hover(point.record, front).replace("<br>", " ")
        assert (point.record.named == "threshnet28") == ("a reconstruction" in hover(point.record, front))
    assert any(label.startswith("knee") for label in labels)


def test_labels_of_named_networks_do_not_overlap() -> None:
    point, frame = (100.0, 100.0), (0.0, 0.0, 400.0, 200.0)
    first = place(point, "ThreshNet79", 13, RIGHT_FIRST, [], frame)
    second = place(point, "ThreshNet95", 13, RIGHT_FIRST, [first.box], frame)
    assert first.annotation["xanchor"] == "left"
    assert (first.covered, second.covered, shared(first.box, second.box)) == (0, 0, 0.0)
    at_the_edge = place((395.0, 100.0), "HarDNet85", 13, RIGHT_FIRST, [], frame)
    assert at_the_edge.box[2] <= frame[2]


@each_front
def test_front_is_a_falling_staircase(front: Front) -> None:
    line = trace(figure(front), "Pareto front")
    assert (line.line.shape, line.mode) == ("hv", "lines+markers")
    assert list(zip(line.x, line.y, strict=True)) == [record.point for record in front.front]
    assert list(line.x) == sorted(line.x)
    assert list(line.y) == sorted(line.y, reverse=True)


@each_front
def test_intervals_enclose_the_medians(front: Front) -> None:
    for points in figure(front).data:
        if points.error_x.array:
            assert min(points.error_x.array) >= 0
            assert min(points.error_x.arrayminus) >= 0


def test_networks_over_a_limit_are_hollow() -> None:
    chart = figure(FRONTS["usual"])
    assert trace(chart, "trained, over a limit").marker.color == "white"
    assert trace(chart, "published, over a limit").marker.color == "white"
    assert set(trace(chart, "Pareto front").marker.color).isdisjoint({"white"})
    hollow = figure(FRONTS["nothing feasible"])
    assert set(trace(hollow, "Pareto front").marker.color) == {"white"}
    assert "No network keeps every limit" in hollow.layout.title.subtitle.text


def test_conditions_and_caveat_are_said() -> None:
    text = figure(FRONTS["usual"]).layout.title.subtitle.text
    for part in ("14 trained networks, one training each", "Imaginary CPU", "onnxruntime 1.22.0, 1 thread", "batch 1"):
        assert part in text
    assert "input 32 x 32" in text
    assert CAVEAT in text


@each_front
def test_every_point_is_inside_the_axes(front: Front) -> None:
    layout = figure(front).layout
    low, high = (10**end if layout.xaxis.type == "log" else end for end in layout.xaxis.range)
    assert low < min(record.point[0] for record in front.trained)
    assert max(record.point[0] for record in front.trained) < high
    assert layout.yaxis.range[0] < min(record.point[1] for record in front.trained)
    if layout.xaxis.type == "log":
        assert len(layout.xaxis.tickvals) >= 4


@each_front
def test_html_is_one_file_that_needs_no_network(front: Front, tmp_path: Path) -> None:
    file = tmp_path / "front.html"
    write_html(front, file)
    page = file.read_text()
    library = get_plotlyjs()
    assert page.count(library) == 1
    rest = page.replace(library, "")
    assert "<title>Pareto front of sample</title>" in rest
    assert not re.search(r"<script[^>]*\ssrc=|<link|@import|url\(|<img|<iframe", rest)
    assert "http" not in rest
    assert '"showSendToCloud": false' in rest


@pytest.mark.services
def test_png_is_drawn_at_twice_the_size(tmp_path: Path) -> None:
    file = tmp_path / "front.png"
    write_png(FRONTS["usual"], file)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (SCALE * WIDTH, SCALE * HEIGHT)


def test_without_a_chrome_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: None)
    with pytest.raises(NoChrome, match=r"^no Chrome or Chromium found; install one, or name its file in BROWSER_PATH$"):
        write_png(FRONTS["usual"], tmp_path / "front.png")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("script", "message"),
    [("exec sleep 60", "Chrome did not answer within 1 s"), ("echo broken >&2; exit 3", "Chrome failed")],
)
def test_a_chrome_that_hangs_or_dies_is_one_line(
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
        write_png(FRONTS["one point"], tmp_path / "front.png")
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "front.png").exists()
    assert capfd.readouterr() == ("", "")
