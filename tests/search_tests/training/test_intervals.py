"""Confidence intervals of error rates, compared with those of scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from search.training.metrics import error_interval


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_the_wilson_interval_of_scipy(counted: tuple[int, int]) -> None:
    wrong, images = counted
    expected = binomtest(wrong, images).proportion_ci(method="wilson")
    low, high = error_interval(100 * wrong / images, images)
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-4)
    assert 0 <= low <= 100 * wrong / images + 1e-9
    assert 100 * wrong / images - 1e-9 <= high <= 100
