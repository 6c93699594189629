"""Agreement of logits: the tolerance scales with the largest logit, and non-finite logits never agree."""

import numpy as np
import pytest

from threshnet.export.agreement import TOLERANCE, agreement

LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [(0.0, np.inf), (np.inf, 0.0), (np.inf, np.inf), (0.0, np.nan), (np.nan, 0.0), (LARGEST, -LARGEST)],
)
def test_non_finite_logits_never_agree(logits: float, expected: float) -> None:
    compared = agreement(np.array([[logits, 1]], np.float32), np.array([[expected, 1]], np.float32))
    assert not compared.ok


@pytest.mark.parametrize(("share", "agrees"), [(0.9, True), (1.1, False)])
def test_the_tolerance_scales_with_the_largest_logit(share: float, agrees: bool) -> None:
    expected = np.array([[1000, 1], [-10, 0]], np.float32)
    assert agreement(expected + np.float32(share * TOLERANCE * 1000), expected).ok == agrees
