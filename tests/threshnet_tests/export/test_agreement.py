"""When two files hold one network: never where one of them answers with what is no finite number."""

import numpy as np
import pytest

from threshnet.export.agreement import TOLERANCE, agreement

LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [(0.0, np.inf), (np.inf, 0.0), (np.inf, np.inf), (0.0, np.nan), (np.nan, 0.0), (LARGEST, -LARGEST)],
)
def test_no_finite_number_agrees_with_nothing(logits: float, expected: float) -> None:
    found = agreement(np.array([[logits, 1]], np.float32), np.array([[expected, 1]], np.float32))
    assert not found.ok


@pytest.mark.parametrize(("share", "agrees"), [(0.9, True), (1.1, False)])
def test_the_largest_logit_says_what_the_others_may_differ_by(share: float, agrees: bool) -> None:
    expected = np.array([[1000, 1], [-10, 0]], np.float32)
    assert agreement(expected + np.float32(share * TOLERANCE * 1000), expected).ok == agrees
