"""The figure of the hypervolume over the cost."""

import pytest

from search.volume import Step
from studies.figures.volume import volume_plot


def steps(*volumes: float, passes: int = 100) -> tuple[Step, ...]:
    """Make a curve of trainings of equal cost."""
    return tuple(Step(n, (n + 1) * passes, volume, volume) for n, volume in enumerate(volumes))


def test_a_curve_is_drawn_in_steps_over_full_trainings_with_a_label_at_its_end() -> None:
    chart = volume_plot({"mine": steps(0.0, 20.0, 20.0, 35.5)}, 200, ["Below <here>"])
    line, dot = chart.data
    assert (line.x, line.y, line.line.shape) == (
        (1.0, 1.5, 2.0),
        (20.0, 20.0, 35.5),
        "hv",
    )  # from the first volume above 0
    assert (dot.x, dot.y) == ((2.0,), (35.5,))
    (label,) = chart.layout.annotations
    assert (label.text, label.x, label.y) == ("mine 35.5 %", 2.0, 35.5)
    assert "Below &lt;here&gt;" in chart.layout.title.subtitle.text
    assert "one = 200 training images processed" in chart.layout.xaxis.title.text


def test_each_curve_has_its_own_color_and_label() -> None:
    curves = {f"study {n}": steps(10.0, 50.0 + 0.1 * n) for n in range(8)}
    chart = volume_plot(curves, 100)
    lines = [trace for trace in chart.data if trace.mode == "lines"]
    assert len({(line.line.color, line.line.dash) for line in lines}) == 8
    assert sorted(label.text for label in chart.layout.annotations) == [
        f"study {n} {50 + 0.1 * n:.1f} %" for n in range(8)
    ]


@pytest.mark.parametrize("curves", [{}, {"none": ()}, {"nothing": steps(0.0, 0.0)}, {"one": steps(5.0)}])
def test_empty_and_short_curves_make_a_figure(curves: dict[str, tuple[Step, ...]]) -> None:
    chart = volume_plot(curves, 100)
    assert len(chart.layout.annotations) == sum(any(step.hypervolume for step in one) for one in curves.values())
