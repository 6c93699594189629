"""A surrogate that values are added to one by one."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from search.samplers import learner as module
from search.samplers.features import Features, features_of
from search.samplers.learner import GROWTH, Learner, Learnt

Array = NDArray[np.float64]


def sized(sizes: Array) -> Features:
    """Features of networks that differ in their size and in something that does not matter."""
    return features_of(np.column_stack([sizes, np.arange(len(sizes)) % 3]))


def made_up_learner(n: int = 40, earlier: Learnt | None = None) -> Learner:
    return Learner(sized(np.linspace(0, 1, n)), np.zeros(2), 3.0, earlier)


def test_hyperparameters_are_learnt_again_on_growth_only(learnings: list[int]) -> None:
    learner, rng = made_up_learner(), np.random.default_rng(0)
    for number in range(25):
        learner.posterior()
        learner.posterior()  # with the same values
        learner.add(number, 0.0, 3.0 + 0.1 * rng.standard_normal())
    expected = [0]
    while (larger := int(GROWTH * expected[-1]) + 1) < 25:
        expected.append(larger)
    assert learnings == expected


def test_a_posterior_has_every_value_whenever_it_was_added(learnings: list[int]) -> None:
    """Between two learnings, values extend the posterior. The result is that of a new learner with the same start."""
    learner, rng = made_up_learner(), np.random.default_rng(1)
    for number in range(20):
        learner.add(number % 8, float(number // 8), 3.0 + 0.1 * rng.standard_normal())
        found = learner.posterior()
        assert found.seen.network.tolist() == [place for place, _, _ in learner.values]
    assert learner.learnt is not None
    assert learnings[-1] == learner.learnt.values < 20
    other = made_up_learner(earlier=replace(learner.learnt, values=20))
    other.values = learner.values
    # The level was set at the last learning; the posterior hardly depends on it.
    assert other.posterior().mean == pytest.approx(found.mean, abs=0.02)
    assert other.posterior().deviation == pytest.approx(found.deviation, abs=1e-4)


def test_the_level_is_that_of_the_values_at_the_end() -> None:
    """Without such values, it is the prior level; scores at low rungs do not set it."""
    learner = made_up_learner(4)
    assert learner.posterior().prior_mean == pytest.approx(3.0)
    learner.add(0, 2.0, 5.0)
    assert learner.posterior().prior_mean == pytest.approx(3.0)
    learner.add(1, 0.0, 4.0)
    learner.add(2, 0.0, 4.4)
    assert learner.posterior().prior_mean == pytest.approx(4.2)


def test_of_many_values_those_nearest_the_front_and_a_random_part_are_used(
    monkeypatch: pytest.MonkeyPatch, learnings: list[int]
) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 10)
    learner, rng = made_up_learner(), np.random.default_rng(0)
    for number in rng.permutation(40)[:10].tolist():
        learner.add(number, 0.0, 3.0)
    assert len(learner.posterior().seen.network) == 10
    for number in range(40):
        learner.add(number, 1.0, 3.2)
    distance = rng.permutation(40).astype(float)
    found = learner.posterior(lambda: distance)
    assert len(found.seen.network) == 10
    nearest = np.sort([distance[network] for network, _, _ in learner.values])[:5]
    used = np.sort(distance[found.seen.network])
    assert used[:5].tolist() == nearest.tolist()
    assert used[-1] > 15  # others are far away
    assert learnings[-1] == 10
    assert learner.learnt is not None
    assert learner.learnt.values == 50  # so that it is learnt again once there are many more
    assert len(learner.posterior(lambda: distance).seen.network) == 10
    learner.add(0, 2.0, 3.2)
    assert len(learner.posterior(lambda: distance).seen.network) == 10
    assert learnings[-1] == 10
