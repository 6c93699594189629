"""The figure of errors over latency has the intervals of both, and a title at every point."""

import pytest
from search_tests.tiny import steady_latency

from studies.figures.errors import ErrorPoint, figure
from studies.figures.panel import VERMILLION

POINTS = [
    ErrorPoint("small", steady_latency(0.5), 12.0, 11.0, 13.5),
    ErrorPoint("<b>large", steady_latency(4.0, low_ms=3.0, high_ms=4.5), 8.0, 7.5, 8.5, emphasized=True),
]


def test_the_bars_are_the_intervals() -> None:
    plain, emphasized = figure("Networks", ["A note"], "test error (%)", POINTS).data
    assert (list(plain.x), list(plain.y)) == ([0.5], [12.0])
    assert (plain.error_y.array, plain.error_y.arrayminus) == ((1.5,), (1.0,))
    assert (list(emphasized.x), list(emphasized.y)) == ([4.0], [8.0])
    assert (emphasized.error_x.array, emphasized.error_x.arrayminus) == ((0.5,), (1.0,))
    assert (plain.marker.color == VERMILLION, emphasized.marker.color == VERMILLION) == (False, True)


def test_every_point_has_its_title_as_text() -> None:
    chart = figure("Networks", ["A <note>"], "test error (%)", POINTS)
    assert [each.text for each in chart.layout.annotations] == ["small", "&lt;b&gt;large"]
    assert chart.layout.title.subtitle.text == "A &lt;note&gt;"
    assert "&lt;b&gt;large" in chart.data[1].hovertext[0]


@pytest.mark.parametrize(("slow", "kind"), [(4.0, "log"), (0.6, "linear")])
def test_the_latency_axis_is_logarithmic_for_a_wide_range(slow: float, kind: str) -> None:
    points = [POINTS[0], ErrorPoint("other", steady_latency(slow), 9.0, 8.0, 10.0)]
    assert figure("Networks", [], "test error (%)", points).layout.xaxis.type == kind


def test_one_point_without_spread_is_drawn() -> None:
    chart = figure("Networks", [], "test error (%)", [ErrorPoint("one", steady_latency(1.0), 0.0, 0.0, 0.0)])
    low, high = chart.layout.yaxis.range
    assert low <= 0 < high
