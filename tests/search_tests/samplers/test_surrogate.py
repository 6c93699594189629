"""The Gaussian process: close to what it saw, in doubt about the rest, and honest about what a low rung tells."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.samplers import surrogate
from search.samplers.surrogate import (
    BROAD,
    PRIOR,
    PRIOR_SD,
    REACH,
    Observations,
    Surrogate,
    Values,
    covariance,
    derivatives,
    every_pair,
    own_pairs,
)

STEP = 1e-6  # of a numeric derivative
LEVEL, SLOPES = np.log(30.0), np.array([-0.1, 0.0])


def made_up(n: int, seed: int = 0, to_go: float = 0.0) -> Observations:
    """Values of n networks that depend on the descriptors and a little on chance."""
    rng = np.random.default_rng(seed)
    descriptors = rng.standard_normal((n, 2))
    logs = LEVEL - 0.2 * descriptors[:, 0] + 0.02 * rng.standard_normal(n)
    return Observations(descriptors, np.arange(n), np.full(n, to_go), logs)


def joined(*parts: Observations) -> Observations:
    """All of these values."""
    return Observations(
        np.concatenate([part.descriptors for part in parts]),
        np.concatenate([part.network for part in parts]),
        np.concatenate([part.to_go for part in parts]),
        np.concatenate([part.logs for part in parts]),
    )


def part(seen: Observations, *places: int) -> Observations:
    """Some of these values."""
    at = np.array(places, dtype=np.int64)
    return Observations(seen.descriptors[at], seen.network[at], seen.to_go[at], seen.logs[at])


# The process


def test_of_seen_values_it_is_sure_and_of_other_networks_less() -> None:
    seen = made_up(12)
    process = Surrogate(seen, LEVEL, SLOPES)
    mean, deviation = process.predict(seen.descriptors, seen.network)
    assert mean == pytest.approx(seen.logs, abs=5e-3)
    assert deviation.max() < 5e-3
    _, twin = process.predict(seen.descriptors, seen.network + 100)  # the same descriptors, another network
    _, far = process.predict(seen.descriptors + 10, seen.network + 100)
    assert (twin > deviation).all()
    assert (far > twin).all()


def test_nothing_seen_gives_the_prior() -> None:
    descriptors = np.array([[0.0, 0.0], [1.0, -2.0]])
    process = Surrogate(made_up(0), LEVEL, SLOPES)
    mean, deviation = process.predict(descriptors, np.arange(2))
    trend, smooth, _, private, *_ = np.exp(PRIOR)
    assert (process.shape == PRIOR).all()
    assert mean == pytest.approx([LEVEL, LEVEL - 0.1])
    expected = trend**2 * np.array([0.0, 5.0]) + smooth**2 + private**2 + BROAD**2
    assert deviation == pytest.approx(np.sqrt(expected))


def test_a_low_rung_narrows_the_end_and_a_higher_one_more() -> None:
    seen, fresh = made_up(8), made_up(9, seed=1)
    last = Observations(fresh.descriptors[-1:], np.array([50]), np.array([2.0]), fresh.logs[-1:])
    near = Observations(last.descriptors, last.network, np.array([1.0]), last.logs)
    deviations = [
        Surrogate(each, LEVEL, SLOPES, PRIOR).predict(last.descriptors, last.network)[1][0]
        for each in (seen, joined(seen, last), joined(seen, last, near))
    ]
    assert deviations[0] > deviations[1] > deviations[2] > 0


def test_a_bad_score_at_a_low_rung_raises_what_is_expected_of_the_end() -> None:
    seen = joined(made_up(8), made_up(8, to_go=2.0))
    at = np.zeros((1, 2))
    means = []
    for log in (LEVEL - 0.3, LEVEL + 0.3):
        scored = Observations(at, np.array([50]), np.array([2.0]), np.array([log]))
        means.append(Surrogate(joined(seen, scored), LEVEL, SLOPES).predict(at, np.array([50]))[0][0])
    assert means[0] < means[1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(0, 8),
    to_go=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=2, max_size=2),
)
def test_told_is_what_seeing_the_value_takes_off_the_variance(seed: int, n: int, to_go: list[float]) -> None:
    """By conditioning: the variance of the end once a value was seen does not depend on the value."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surrogate, "LEARNABLE", 10**9)  # the same kernel before and after
        seen = joined(made_up(n, seed), made_up(n, seed, to_go=2.0))
        descriptors = np.random.default_rng(seed + 1).standard_normal((2, 2))
        network, ahead = np.array([0, 50]), np.array(to_go)  # one that may have been seen, one that was not
        if n:
            descriptors[0] = seen.descriptors[0]
        process = Surrogate(seen, LEVEL, SLOPES)
        _, before = process.predict(descriptors, network)
        told = process.told(descriptors, network, ahead.tolist()).diagonal()
        assert (told >= 0).all()
        assert (told <= before + 1e-3).all()
        for place in range(2):
            at = np.array([place])
            value = Observations(descriptors[at], network[at], ahead[at], np.array([LEVEL + 1.0]))
            _, after = Surrogate(joined(seen, value), LEVEL, SLOPES).predict(descriptors[at], network[at])
            left = np.sqrt(max(0.0, before[place] ** 2 - told[place] ** 2))
            assert after[0] == pytest.approx(left, abs=3e-3)


def test_the_end_itself_tells_all() -> None:
    seen = made_up(2)
    process = Surrogate(seen, LEVEL, SLOPES)
    _, deviation = process.predict(np.ones((1, 2)), np.array([50]))
    told = process.told(np.ones((1, 2)), np.array([50]), (0.0, 1.0, 3.0))[:, 0]
    assert told[0] == pytest.approx(deviation[0])
    assert told[0] > told[1] > told[2] > 0


def test_the_kernel_is_learnt_from_enough_values_only_and_alike_each_time() -> None:
    assert (Surrogate(made_up(2), LEVEL, SLOPES).shape == PRIOR).all()
    first, second = (Surrogate(made_up(10), LEVEL, SLOPES) for _ in range(2))
    assert not np.allclose(first.shape, PRIOR)
    assert first.shape.tolist() == second.shape.tolist()
    assert first.weights.tolist() == second.weights.tolist()


def test_learning_makes_what_was_seen_more_likely() -> None:
    seen = made_up(15)
    pairs, residual = every_pair(seen, seen), seen.logs - LEVEL - seen.descriptors @ SLOPES
    learnt, _ = surrogate._loss(Surrogate(seen, LEVEL, SLOPES).shape, pairs, residual)
    prior, _ = surrogate._loss(PRIOR, pairs, residual)
    assert learnt < prior


def test_a_trend_is_learnt_and_carried_on() -> None:
    process = Surrogate(made_up(20), LEVEL, SLOPES)
    ends = np.array([[-4.0, 0.0], [4.0, 0.0]])
    mean, _ = process.predict(ends, np.array([100, 101]))
    assert mean == pytest.approx(LEVEL - 0.2 * ends[:, 0], abs=0.25)


def test_what_is_learnt_stays_within_reach_of_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """However steep the way: beyond, covariances overflow."""
    steep = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0]) * 1e6
    tried: list[np.ndarray] = []
    monkeypatch.setattr(surrogate, "_loss", lambda shape, *_: (tried.append(shape.copy()), (shape @ steep, steep))[1])
    learnt = Surrogate(made_up(10), LEVEL, SLOPES).shape
    assert learnt == pytest.approx(PRIOR - REACH * PRIOR_SD * np.sign(steep))
    assert max(np.abs((shape - PRIOR) / PRIOR_SD).max() for shape in tried) < REACH + 1e-9


def test_order_of_what_was_seen_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "LEARNABLE", 10**9)
    seen = made_up(6)
    ahead = np.ones((1, 2)), np.array([50])
    there = Surrogate(seen, LEVEL, SLOPES).predict(*ahead)
    back = Surrogate(part(seen, 5, 4, 3, 2, 1, 0), LEVEL, SLOPES).predict(*ahead)
    assert there[0] == pytest.approx(back[0])
    assert there[1] == pytest.approx(back[1])


# Its kernel


def random_values(seed: int, n: int = 9) -> Values:
    """Values of a few networks, some of them of one network at several times."""
    rng = np.random.default_rng(seed)
    network = rng.integers(0, 4, n)
    return Values(rng.standard_normal((4, 3))[network], network, rng.integers(0, 4, n).astype(float))


@given(seed=st.integers(0, 999))
def test_the_covariance_is_symmetric_and_no_variance_is_negative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = random_values(seed)
    gram = covariance(PRIOR + rng.normal(0, 0.5, len(PRIOR)), every_pair(values, values))
    assert gram == pytest.approx(gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-9


@given(seed=st.integers(0, 999))
def test_the_derivatives_are_those_of_the_covariance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs, shape = every_pair(random_values(seed), random_values(seed + 1)), PRIOR + rng.normal(0, 0.5, len(PRIOR))
    for place, derivative in enumerate(derivatives(shape, pairs)):
        step = STEP * np.eye(len(shape))[place]
        numeric = (covariance(shape + step, pairs) - covariance(shape - step, pairs)) / (2 * STEP)
        assert derivative == pytest.approx(numeric, rel=1e-4, abs=1e-8)


def test_own_pairs_are_the_diagonal_of_every_pair() -> None:
    values = random_values(0)
    later = replace(values, to_go=values.to_go / 2)
    every, own = every_pair(values, later), own_pairs(values, later)
    assert covariance(PRIOR, own) == pytest.approx(np.diag(covariance(PRIOR, every)))


def test_at_the_end_a_network_varies_by_its_three_parts_and_the_level() -> None:
    trend, smooth, _, private, *_ = np.exp(PRIOR)
    end = Values(np.array([[3.0, 4.0]]), np.array([7]), np.zeros(1))
    assert covariance(PRIOR, own_pairs(end, end))[0] == pytest.approx(25 * trend**2 + smooth**2 + private**2 + BROAD**2)
