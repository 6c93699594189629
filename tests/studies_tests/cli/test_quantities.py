"""Quantities on the command line: published figures."""

import click
import pytest

from studies.cli.quantities import PublishedFigure


@pytest.mark.parametrize(
    ("typed", "figure"),
    [
        ("10.18M", (10.18e6, 5e3)),
        ("14371858", (14371858.0, 0.5)),
        ("83.26", (83.26, 0.005)),
        ("2.28 G", (2.28e9, 5e6)),
        ("3G", (3e9, 5e8)),
    ],
)
def test_a_figure_stands_for_every_value_that_rounds_to_it(typed: str, figure: tuple[float, float]) -> None:
    value, half = PublishedFigure().convert(typed, None, None)
    assert value == figure[0]
    assert half == pytest.approx(figure[1])


def test_text_that_is_not_a_figure_is_rejected() -> None:
    with pytest.raises(click.BadParameter, match="must be a number above 0"):
        PublishedFigure().convert("many", None, None)
