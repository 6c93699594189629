"""Link strengths and thresholds: link sets nest, and their sizes have closed forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threshnet.schedules import (
    CHAIN,
    DENSE,
    HARMONIC,
    LOG_DENSE,
    THRESHOLD_NAMES,
    describe,
    harmonic_links,
    kept_links,
    schedule,
    strength,
)

DEPTHS = range(1, 65)


@pytest.mark.parametrize("layer", DEPTHS)
def test_links_nest(layer: int) -> None:
    chain, harmonic, log_dense, dense = (set(kept_links(layer, t)) for t in (CHAIN, HARMONIC, LOG_DENSE, DENSE))
    assert {layer - 1} == chain
    assert chain <= harmonic <= log_dense <= dense == set(range(layer))


@pytest.mark.parametrize("depth", DEPTHS)
def test_link_counts_have_closed_forms(depth: int) -> None:
    links = {t: sum(map(len, schedule((t,) * depth))) for t in range(4)}
    assert links[CHAIN] == depth
    assert links[HARMONIC] == 2 * depth - depth.bit_count()
    assert links[LOG_DENSE] == sum(layer.bit_length() for layer in range(1, depth + 1))  # floor(log2 l) + 1
    assert links[DENSE] == depth * (depth + 1) // 2


@given(st.integers(1, 200), st.integers(0, 3))
def test_kept_links_are_ascending_and_include_the_predecessor(layer: int, threshold: int) -> None:
    nodes = kept_links(layer, threshold)
    assert list(nodes) == sorted(set(nodes))
    assert nodes[-1] == layer - 1
    assert set(nodes) == {n for n in range(layer) if strength(layer, layer - n) >= threshold}


def test_strengths_follow_the_definition() -> None:
    assert [strength(8, d) for d in range(1, 9)] == [3, 2, 0, 2, 0, 0, 0, 2]
    assert [strength(6, d) for d in range(1, 7)] == [3, 2, 0, 1, 0, 0]
    assert kept_links(8, HARMONIC) == (0, 4, 6, 7)
    assert kept_links(6, LOG_DENSE) == (2, 4, 5)


@pytest.mark.parametrize(("layer", "distance"), [(4, 0), (4, 5), (4, -1), (0, 1)])
def test_a_distance_out_of_range_is_an_error(layer: int, distance: int) -> None:
    with pytest.raises(ValueError, match=f"distance {distance} is not between 1 and the layer's number {layer}"):
        strength(layer, distance)


@pytest.mark.parametrize("threshold", [-1, 4])
def test_a_threshold_out_of_range_is_an_error(threshold: int) -> None:
    with pytest.raises(ValueError, match=f"threshold {threshold} is not between 0 and 3"):
        kept_links(3, threshold)


@pytest.mark.parametrize("layer", DEPTHS)
def test_harmonic_links_do_not_depend_on_weaker_links(layer: int) -> None:
    halvings = (layer & -layer).bit_length()  # powers of two that divide the layer, 1 among them
    counts = [harmonic_links(layer, kept_links(layer, t)) for t in range(4)]
    assert counts == [halvings, halvings, halvings, 1]


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ((DENSE,) * 6, "dense"),
        ((LOG_DENSE,) * 6, "log-dense"),
        ((HARMONIC,) * 16, "harmonic"),
        ((CHAIN,) * 5, "chain"),
        ((DENSE,), "chain"),
        ((DENSE, DENSE), "harmonic"),
        ((DENSE,) * 4 + (CHAIN,) * 4, "dense 1-4, chain 5-8"),
        ((DENSE,) * 3 + (CHAIN,), "dense 1-3, chain 4"),
    ],
)
def test_describe(thresholds: tuple[int, ...], words: str) -> None:
    assert describe(schedule(thresholds)) == words


def test_describe_says_custom_if_no_threshold_fits() -> None:
    assert describe(((0,), (1,), (0, 2), (3,))) == "chain 1-2, custom 3, chain 4"
    assert describe(((0,), (1,), (0, 2), (0, 3))) == "chain 1-2, custom 3-4"


@given(st.sampled_from(range(4)), st.integers(8, 40))
def test_a_block_with_one_threshold_is_described_by_its_name(threshold: int, depth: int) -> None:
    assert describe(schedule((threshold,) * depth)) == THRESHOLD_NAMES[threshold]
