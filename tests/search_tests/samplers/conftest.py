"""Fixtures of the tests of samplers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from search.samplers import learner
from search.samplers.features import Features
from search.samplers.surrogate import Values, learnt

Array = NDArray[np.float64]


@pytest.fixture
def learnings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of values from which hyperparameters were learnt."""
    numbers: list[int] = []

    def counted(features: Features, mean: Array, seen: Values, start: Array | None = None) -> Array:
        numbers.append(len(seen))
        return learnt(features, mean, seen, start)

    monkeypatch.setattr(learner, "learnt", counted)
    return numbers
