"""Features: groups of unit scale, whatever the descriptors and choices, and slopes per standard deviation."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.samplers.features import Features, features_of, scale

Array = NDArray[np.float64]

NOTHING = np.zeros((4, 0))  # no descriptors of four networks
CHOICES = np.array([[0, 1, 2], [1, 1, 0], [0, 0, 1], [2, 2, 0]])


def mean_squared_distance(columns: Array) -> float:
    """The mean over all pairs of networks, written out."""
    return float(np.mean([((a - b) ** 2).sum() for a in columns for b in columns]))


def group(features: Features, number: int) -> Array:
    """The columns of a group."""
    return features.columns[:, features.groups == number]


@given(seed=st.integers(0, 999), n=st.integers(1, 12), d=st.integers(0, 3), c=st.integers(0, 3))
def test_the_mean_squared_distance_in_each_group_is_one_or_zero(seed: int, n: int, d: int, c: int) -> None:
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(100, 10, (n, d)) * 10.0 ** rng.integers(-3, 4, d)
    choices = rng.integers(0, 3, (n, c))
    features = features_of(descriptors, choices, [range(c)] if c > 1 else [])
    assert features.columns.mean(axis=0) == pytest.approx(np.zeros(features.columns.shape[1]))
    for number in range(features.count):
        columns = group(features, number)
        assert mean_squared_distance(columns) == pytest.approx(1 if columns.any() else 0)
    for place in range(d):  # no descriptor is constant by chance
        assert group(features, place).any() == (n > 1)
    for place in range(c):
        assert group(features, d + place).any() == (len(set(choices[:, place])) > 1)


@given(value=st.floats(-1e6, 1e6), n=st.integers(1, 50))
def test_a_constant_column_becomes_zeros_and_has_no_slope(value: float, n: int) -> None:
    """The mean of equal values may differ from them by a rounding error, which must not be scaled to 1."""
    features = features_of(np.column_stack([np.full(n, value), np.arange(n)]))
    assert not features.columns[:, 0].any()
    trend = features.columns @ features.slopes([0.3, 0.0])
    assert not trend.any()


def test_descriptors_are_single_columns_and_choices_have_a_column_for_each_option() -> None:
    features = features_of(np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 7.0], [0.0, 7.0]]), CHOICES)
    assert features.groups.tolist() == [0, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert features.descriptors.tolist() == [0, 1, *[-1] * 9]
    assert features.count == 5


def test_networks_with_different_options_are_equally_far_apart() -> None:
    columns = group(features_of(NOTHING, CHOICES), 0)
    distances = [[((a - b) ** 2).sum() for a in columns] for b in columns]
    # Options 0, 1, 0 and 2: 10 of the 16 pairs differ, at a squared distance of 1.6.
    assert np.array(distances) == pytest.approx(1.6 * (CHOICES[:, None, 0] != CHOICES[None, :, 0]))


@pytest.mark.parametrize(
    ("same", "counts"),
    [
        ([], []),
        ([(0, 1, 2)], [[1, 1, 2, 1], [1, 2, 1, 0], [1, 0, 0, 2]]),
        ([(0, 2)], [[1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]]),
        ([(0, 1), (1, 2)], [[1, 0, 2, 0], [1, 2, 0, 0], [0, 0, 0, 2], [0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1]]),
    ],
)
def test_the_options_that_choices_share_are_counted(same: list[Sequence[int]], counts: list[list[int]]) -> None:
    features = features_of(NOTHING, CHOICES, same)
    assert features.count == 3 + len(counts)
    for number, expected in enumerate(counts, start=3):
        assert group(features, number)[:, 0] == pytest.approx(scale(np.array([expected], dtype=float).T)[:, 0])


def test_networks_without_descriptors_and_choices_have_no_features() -> None:
    features = features_of(NOTHING)
    assert features.columns.shape == (4, 0)
    assert features.count == 0
    assert features.slopes([]).shape == (0,)


@given(seed=st.integers(0, 999), n=st.integers(2, 12))
def test_slopes_are_changes_per_standard_deviation_of_a_descriptor(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(5, 2, (n, 3))
    features = features_of(descriptors, rng.integers(0, 2, (n, 2)))
    per_deviation = [-0.1, 0.0, 0.4]
    standard = (descriptors - descriptors.mean(axis=0)) / descriptors.std(axis=0)
    assert features.columns @ features.slopes(per_deviation) == pytest.approx(standard @ per_deviation)


@given(seed=st.integers(0, 999), unit=st.floats(0.001, 1000), shift=st.floats(-10, 10))
def test_the_unit_of_a_descriptor_does_not_matter(seed: int, unit: float, shift: float) -> None:
    descriptors = np.random.default_rng(seed).normal(0, 1, (6, 2))
    moved = descriptors * (unit, 1) + (shift, 0)
    assume(moved[:, 0].std() > 1e-6 * abs(shift))
    assert features_of(moved).columns == pytest.approx(features_of(descriptors).columns, abs=1e-6)
