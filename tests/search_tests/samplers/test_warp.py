"""The scale on which errors are predicted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.samplers.warp import MIN_ERROR, unwarped, warped


@given(st.floats(0.05, 100), st.floats(10, 100), st.floats(0, 0.5))
def test_unwarped_errors_are_logs_of_the_errors(error: float, edge: float, deviation: float) -> None:
    mean = warped(error, edge)
    logs, spread = unwarped(np.array([mean]), np.array([deviation]), edge)
    assert logs[0] == pytest.approx(np.log(error))
    step = 1e-4
    by_step = unwarped(np.array([mean - step, mean + step]), np.zeros(2), edge)[0]
    assert spread[0] == pytest.approx(deviation * np.diff(by_step)[0] / (2 * step), rel=1e-3, abs=1e-9)


def test_small_errors_differ_and_large_ones_are_alike() -> None:
    assert warped(2.0, 50.0) - warped(1.0, 50.0) == pytest.approx(np.log(2), abs=0.05)
    assert warped(200.0, 50.0) - warped(100.0, 50.0) < 0.2
    assert warped(0.0, 50.0) == warped(MIN_ERROR, 50.0)
    # A warped error is below 0; larger predictions are lowered.
    assert np.isfinite(unwarped(np.array([-0.001, 0.5]), np.ones(2), 50.0)).all()
