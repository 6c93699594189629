"""The reference network never changes, and runs at every size."""

import pytest
import torch

from search.latency.reference import REFERENCE
from threshnet.costs import count
from threshnet.network import build

# Written down by hand: a ratio to another network cannot be compared with those that are recorded and published.
FINGERPRINT = "e2c77e6cf609e607"


def test_the_reference_is_the_one_it_always_was() -> None:
    assert REFERENCE.fingerprint() == FINGERPRINT
    costs = count(REFERENCE, 32)
    assert (costs.params, costs.macs) == (233_102, 59_124_672)


@pytest.mark.parametrize("size", [8, 32, 224])
def test_the_reference_runs_at_every_size(size: int) -> None:
    with torch.inference_mode():
        answer = build(REFERENCE).eval()(torch.zeros(2, 3, size, size))
    assert answer.shape == (2, REFERENCE.classes)
