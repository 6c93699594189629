"""Recovering networks from their costs: compared with brute force on a small template, and on published figures."""

from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshnet_tests.recover.small_template import CLASSES, COSTS, NETWORKS, ONE, SIZE, SMALL, all_networks, costs_of

from threshnet import NAMED, InputError, StemSpec
from threshnet.costs import count
from threshnet.recover.partial import COLUMNS
from threshnet.recover.recover import Figure, Recovery, distances, matching, recover
from threshnet.recover.templates import HARDNET, TEMPLATES, THRESHNET


def exact_figures(costs: tuple[int, ...], columns: tuple[str, ...] = COLUMNS) -> list[Figure]:
    return [Figure(column, float(costs[COLUMNS.index(column)]), 0.0) for column in columns]


def test_the_size_of_a_template_is_its_number_of_networks() -> None:
    assert len(COSTS) == len(NETWORKS) == ONE.size
    assert SMALL.size == 4 * ONE.size  # two stems, two dropouts
    assert all(ONE.contains(spec) for spec in NETWORKS)


def test_the_enumeration_is_complete_and_its_costs_are_correct() -> None:
    """Every network is enumerated once, with the distance of its counted costs."""
    target = exact_figures(COSTS[NETWORKS[17].fingerprint()])
    found = {}
    for batch in matching(ONE, target, 1000.0, SIZE, CLASSES):
        for place in range(batch.distance.size):
            spec = batch.frame.spec(tuple(map(int, batch.codes[:, place])))
            assert spec.fingerprint() not in found
            found[spec.fingerprint()] = (batch.distance[place], batch.difference[place])
    expected = distances(np.array(list(COSTS.values())).T, target)
    assert found == dict(zip(COSTS, zip(*expected, strict=True), strict=True))


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, len(NETWORKS) - 1),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sampled_from([COLUMNS, ("params", "flops", "convs"), ("flops", "memory_bytes"), ("madd", "params")]),
)
def test_the_matches_equal_those_of_brute_force(place: int, within: float, columns: tuple[str, ...]) -> None:
    costs = COSTS[NETWORKS[place].fingerprint()]
    figures = exact_figures(costs, columns)
    found = recover([ONE], figures, within, 5, SIZE, CLASSES)
    table = np.array([[row[COLUMNS.index(column)] for column in columns] for row in COSTS.values()]).T
    expected, _ = distances(table, figures)
    assert found.matches == (expected <= within).sum()
    assert [one.distance for one in found.listed] == sorted(expected)[: len(found.listed)]
    assert len(found.listed) == min(5, found.matches)
    assert found.listed[0].distance == 0.0
    for one in found.listed:
        assert one.costs == count(one.spec, SIZE)
        assert one.rank == 1 + (expected < one.distance).sum()


@pytest.mark.parametrize(("stems", "dropouts"), list(product(SMALL.stems, SMALL.dropouts)))
def test_every_stem_and_dropout_is_searched(stems: StemSpec, dropouts: tuple[float, float]) -> None:
    part = replace(SMALL, stems=(stems,), dropouts=(dropouts,), blocks=(5,), dense=(3,), growths=(6,))
    spec = all_networks(part)[3]
    assert recover([SMALL], exact_figures(costs_of(spec)), 0.0, 3, SIZE, CLASSES).listed[0].spec == spec


# The published figures


def test_every_named_network_is_in_one_template() -> None:
    templates = {
        name: [template.name for template in TEMPLATES.values() if template.contains(spec)]
        for name, spec in NAMED.items()
    }
    assert templates == {
        "threshnet28": ["threshnet"],
        "threshnet79": ["threshnet"],
        "threshnet95": ["threshnet"],
        "hardnet68": ["hardnet"],
        "hardnet85": ["hardnet"],
    }
    assert not THRESHNET.contains(replace(NAMED["threshnet79"], head_dropout=0.1))
    assert not HARDNET.contains(replace(NAMED["hardnet68"], blocks=NAMED["hardnet68"].blocks[::-1]))


def rounded(text: str, unit: float = 1.0) -> tuple[float, float]:
    """Parse a printed figure, e.g. 2.28G, into its value and half a unit in its last digit."""
    number, scale = Decimal(text.rstrip("MG")), {"M": 1e6, "G": 1e9}.get(text[-1], 1.0) * unit
    return float(number) * scale, float(Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)) * scale


def printed(params: str, flops: str, madd: str, memory: str, convs: int) -> list[Figure]:
    """Figures with the digits printed in a table."""
    figures = (rounded(params), rounded(flops), rounded(madd), rounded(memory, 2**20), (float(convs), 0.0))
    return [Figure(column, *figure) for column, figure in zip(COLUMNS, figures, strict=True)]


def first(found: Recovery) -> tuple[str | None, int, float]:
    return found.listed[0].named, found.listed[0].rank, found.listed[0].distance


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("threshnet79", printed("14.371858M", "3.457146G", "6.895960G", "109.6805", 79)),
        ("threshnet95", printed("16.19M", "4.07G", "8.12G", "132.34", 95)),
    ],
)
def test_a_threshnet_matches_its_own_costs_at_distance_0(name: str, figures: list[Figure]) -> None:
    assert first(recover([THRESHNET], figures, 0.005, 3, 224, 10)) == (name, 1, 0.0)


def test_threshnet79_is_listed_first_with_its_rank() -> None:
    found = recover([THRESHNET], printed("14.31M", "3.46G", "6.90G", "109.68", 79), 0.005, 4, 224, 10)
    name, rank, distance = first(found)
    assert name == "threshnet79"
    assert distance == pytest.approx((14_371_858 - 14_315_000) / 14_310_000)
    assert 1 < rank <= found.matches
    assert [one.rank for one in found.listed[1:]] == [1, 2, 3]
    assert [one.named for one in found.listed[1:]] == [None] * 3


def test_many_networks_match_the_printed_figures_of_threshnet28() -> None:
    found = recover([THRESHNET], printed("10.18M", "2.28G", "4.55G", "83.26", 28), 0.005, 3, 224, 10)
    assert first(found) == ("threshnet28", 1, 0.0)
    assert found.matches > 50


def test_hardnet85_matches_its_own_costs() -> None:
    spec = NAMED["hardnet85"]
    figures = exact_figures(costs_of(spec, 224))
    assert figures[4].value == 84  # plus a linear layer
    assert first(recover([HARDNET], figures, 0.001, 2, 224, spec.classes)) == ("hardnet85", 1, 0.0)


def test_an_input_too_small_for_the_pools_is_an_error() -> None:
    with pytest.raises(InputError, match="the templates have 3 pools"):
        recover([THRESHNET], exact_figures((10, 10, 10, 10, 10)), 0.1, 1, 8, 10)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (("flips", 1.0, 0.5), "column = 'flips': must be one of params, flops, madd, memory_bytes, convs"),
        (("params", 0, 0.5), "value = 0: must be a number above 0"),
        (("params", float("nan"), 0.5), "value = nan: must be a finite number above 0"),
        (("params", 1.0, -0.5), "rounding = -0.5: must be a number, at least 0"),
    ],
)
def test_a_wrong_figure_is_refused(figure: tuple[str, float, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Figure(*figure)
    assert str(caught.value) == message
