"""The kernel: a covariance, and its derivatives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.samplers.surrogate import BROAD, PRIOR, Values, covariance, derivatives, every_pair, own_pairs

STEP = 1e-6


def made_up(seed: int, n: int = 9) -> Values:
    """Values of a few networks, some of them of one network at several times."""
    rng = np.random.default_rng(seed)
    network = rng.integers(0, 4, n)
    return Values(rng.standard_normal((4, 3))[network], network, rng.integers(0, 4, n).astype(float))


@given(seed=st.integers(0, 999))
def test_it_is_symmetric_and_no_variance_is_negative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = made_up(seed)
    gram = covariance(PRIOR + rng.normal(0, 0.5, len(PRIOR)), every_pair(values, values))
    assert gram == pytest.approx(gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-9


@given(seed=st.integers(0, 999))
def test_the_derivatives_are_those_of_the_covariance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs, shape = every_pair(made_up(seed), made_up(seed + 1)), PRIOR + rng.normal(0, 0.5, len(PRIOR))
    for place, derivative in enumerate(derivatives(shape, pairs)):
        step = STEP * np.eye(len(shape))[place]
        numeric = (covariance(shape + step, pairs) - covariance(shape - step, pairs)) / (2 * STEP)
        assert derivative == pytest.approx(numeric, rel=1e-4, abs=1e-8)


def test_own_pairs_are_the_diagonal_of_every_pair() -> None:
    values = made_up(0)
    later = replace(values, to_go=values.to_go / 2)
    every, own = every_pair(values, later), own_pairs(values, later)
    assert covariance(PRIOR, own) == pytest.approx(np.diag(covariance(PRIOR, every)))


def test_at_the_end_a_network_varies_by_its_three_parts_and_the_level() -> None:
    trend, smooth, _, private, *_ = np.exp(PRIOR)
    end = Values(np.array([[3.0, 4.0]]), np.array([7]), np.zeros(1))
    assert covariance(PRIOR, own_pairs(end, end))[0] == pytest.approx(25 * trend**2 + smooth**2 + private**2 + BROAD**2)
