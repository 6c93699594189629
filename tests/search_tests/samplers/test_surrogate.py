"""The Gaussian process: certain at its observations, uncertain elsewhere, and exact about what a low rung explains."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.samplers import surrogate
from search.samplers.surrogate import (
    BOUND_SD,
    LEVEL_SD,
    PRIOR,
    PRIOR_SD,
    Inputs,
    Observations,
    Surrogate,
    all_pairs,
    covariance,
    derivatives,
    matching_pairs,
)

STEP = 1e-6  # of a finite difference
LEVEL, SLOPES = np.log(30.0), np.array([-0.1, 0.0])


def made_up(n: int, seed: int = 0, to_go: float = 0.0) -> Observations:
    """Observations of n networks: a trend in the descriptors plus a little noise."""
    rng = np.random.default_rng(seed)
    descriptors = rng.standard_normal((n, 2))
    logs = LEVEL - 0.2 * descriptors[:, 0] + 0.02 * rng.standard_normal(n)
    return Observations(descriptors, np.arange(n), np.full(n, to_go), logs)


def joined(*parts: Observations) -> Observations:
    """Concatenated observations."""
    return Observations(
        np.concatenate([part.descriptors for part in parts]),
        np.concatenate([part.network for part in parts]),
        np.concatenate([part.to_go for part in parts]),
        np.concatenate([part.logs for part in parts]),
    )


def part(seen: Observations, *places: int) -> Observations:
    """The observations at these places."""
    at = np.array(places, dtype=np.int64)
    return Observations(seen.descriptors[at], seen.network[at], seen.to_go[at], seen.logs[at])


# The process


def test_uncertainty_vanishes_at_observations_and_grows_with_distance() -> None:
    seen = made_up(12)
    process = Surrogate(seen, LEVEL, SLOPES)
    mean, deviation = process.predict(seen.descriptors, seen.network)
    assert mean == pytest.approx(seen.logs, abs=5e-3)
    assert deviation.max() < 5e-3
    _, twin = process.predict(seen.descriptors, seen.network + 100)  # the same descriptors, another network
    _, far = process.predict(seen.descriptors + 10, seen.network + 100)
    assert (twin > deviation).all()
    assert (far > twin).all()


def test_without_observations_predictions_are_the_prior() -> None:
    descriptors = np.array([[0.0, 0.0], [1.0, -2.0]])
    process = Surrogate(made_up(0), LEVEL, SLOPES)
    mean, deviation = process.predict(descriptors, np.arange(2))
    trend, smooth, _, private, *_ = np.exp(PRIOR)
    assert (process.hyperparameters == PRIOR).all()
    assert mean == pytest.approx([LEVEL, LEVEL - 0.1])
    expected = trend**2 * np.array([0.0, 5.0]) + smooth**2 + private**2 + LEVEL_SD**2
    assert deviation == pytest.approx(np.sqrt(expected))


def test_a_score_at_a_low_rung_reduces_uncertainty_and_a_higher_rung_more() -> None:
    seen, fresh = made_up(8), made_up(9, seed=1)
    last = Observations(fresh.descriptors[-1:], np.array([50]), np.array([2.0]), fresh.logs[-1:])
    near = Observations(last.descriptors, last.network, np.array([1.0]), last.logs)
    deviations = [
        Surrogate(each, LEVEL, SLOPES, PRIOR).predict(last.descriptors, last.network)[1][0]
        for each in (seen, joined(seen, last), joined(seen, last, near))
    ]
    assert deviations[0] > deviations[1] > deviations[2] > 0


def test_a_bad_score_at_a_low_rung_raises_the_predicted_final_error() -> None:
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
def test_explained_variance_is_removed_by_observing_the_value(seed: int, n: int, to_go: list[float]) -> None:
    """By conditioning: the final variance given a value does not depend on the value."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surrogate, "MIN_VALUES", 10**9)  # the same kernel before and after
        seen = joined(made_up(n, seed), made_up(n, seed, to_go=2.0))
        descriptors = np.random.default_rng(seed + 1).standard_normal((2, 2))
        network, ahead = np.array([0, 50]), np.array(to_go)  # one that may have been observed, one that was not
        if n:
            descriptors[0] = seen.descriptors[0]
        process = Surrogate(seen, LEVEL, SLOPES)
        _, before = process.predict(descriptors, network)
        explained = process.explained(descriptors, network, ahead.tolist()).diagonal()
        assert (explained >= 0).all()
        assert (explained <= before + 1e-3).all()
        for place in range(2):
            at = np.array([place])
            value = Observations(descriptors[at], network[at], ahead[at], np.array([LEVEL + 1.0]))
            _, after = Surrogate(joined(seen, value), LEVEL, SLOPES).predict(descriptors[at], network[at])
            left = np.sqrt(max(0.0, before[place] ** 2 - explained[place] ** 2))
            assert after[0] == pytest.approx(left, abs=3e-3)


def test_the_final_value_explains_everything() -> None:
    seen = made_up(2)
    process = Surrogate(seen, LEVEL, SLOPES)
    _, deviation = process.predict(np.ones((1, 2)), np.array([50]))
    explained = process.explained(np.ones((1, 2)), np.array([50]), (0.0, 1.0, 3.0))[:, 0]
    assert explained[0] == pytest.approx(deviation[0])
    assert explained[0] > explained[1] > explained[2] > 0


def test_hyperparameters_are_fitted_from_enough_values_and_deterministically() -> None:
    assert (Surrogate(made_up(2), LEVEL, SLOPES).hyperparameters == PRIOR).all()
    first, second = (Surrogate(made_up(10), LEVEL, SLOPES) for _ in range(2))
    assert not np.allclose(first.hyperparameters, PRIOR)
    assert first.hyperparameters.tolist() == second.hyperparameters.tolist()
    assert first.weights.tolist() == second.weights.tolist()


def test_fitting_lowers_the_loss() -> None:
    seen = made_up(15)
    pairs, residual = all_pairs(seen, seen), seen.logs - LEVEL - seen.descriptors @ SLOPES
    fitted, _ = surrogate._loss(Surrogate(seen, LEVEL, SLOPES).hyperparameters, pairs, residual)
    prior, _ = surrogate._loss(PRIOR, pairs, residual)
    assert fitted < prior


def test_a_trend_is_extrapolated() -> None:
    process = Surrogate(made_up(20), LEVEL, SLOPES)
    ends = np.array([[-4.0, 0.0], [4.0, 0.0]])
    mean, _ = process.predict(ends, np.array([100, 101]))
    assert mean == pytest.approx(LEVEL - 0.2 * ends[:, 0], abs=0.25)


def test_fitted_hyperparameters_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with a steep gradient: beyond the bounds, covariances overflow."""
    steep = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0]) * 1e6
    tried: list[np.ndarray] = []

    def loss(point: np.ndarray, *_: object) -> tuple[float, np.ndarray]:
        tried.append(point.copy())
        return float(point @ steep), steep

    monkeypatch.setattr(surrogate, "_loss", loss)
    fitted = Surrogate(made_up(10), LEVEL, SLOPES).hyperparameters
    assert fitted == pytest.approx(PRIOR - BOUND_SD * PRIOR_SD * np.sign(steep))
    assert max(np.abs((point - PRIOR) / PRIOR_SD).max() for point in tried) < BOUND_SD + 1e-9


def test_the_order_of_observations_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "MIN_VALUES", 10**9)
    seen = made_up(6)
    ahead = np.ones((1, 2)), np.array([50])
    there = Surrogate(seen, LEVEL, SLOPES).predict(*ahead)
    back = Surrogate(part(seen, 5, 4, 3, 2, 1, 0), LEVEL, SLOPES).predict(*ahead)
    assert there[0] == pytest.approx(back[0])
    assert there[1] == pytest.approx(back[1])


# The kernel


def random_inputs(seed: int, n: int = 9) -> Inputs:
    """Inputs of a few networks, some with several training lengths of the same network."""
    rng = np.random.default_rng(seed)
    network = rng.integers(0, 4, n)
    return Inputs(rng.standard_normal((4, 3))[network], network, rng.integers(0, 4, n).astype(float))


@given(seed=st.integers(0, 999))
def test_the_covariance_is_symmetric_and_positive_semidefinite(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = random_inputs(seed)
    gram = covariance(PRIOR + rng.normal(0, 0.5, len(PRIOR)), all_pairs(inputs, inputs))
    assert gram == pytest.approx(gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-9


@given(seed=st.integers(0, 999))
def test_the_derivatives_match_finite_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    point = PRIOR + rng.normal(0, 0.5, len(PRIOR))
    pairs = all_pairs(random_inputs(seed), random_inputs(seed + 1))
    for place, derivative in enumerate(derivatives(point, pairs)):
        step = STEP * np.eye(len(point))[place]
        numeric = (covariance(point + step, pairs) - covariance(point - step, pairs)) / (2 * STEP)
        assert derivative == pytest.approx(numeric, rel=1e-4, abs=1e-8)


def test_matching_pairs_are_the_diagonal_of_all_pairs() -> None:
    inputs = random_inputs(0)
    later = replace(inputs, to_go=inputs.to_go / 2)
    every, matching = all_pairs(inputs, later), matching_pairs(inputs, later)
    assert covariance(PRIOR, matching) == pytest.approx(np.diag(covariance(PRIOR, every)))


def test_the_final_variance_is_that_of_trend_smooth_and_private_part_and_level() -> None:
    trend, smooth, _, private, *_ = np.exp(PRIOR)
    end = Inputs(np.array([[3.0, 4.0]]), np.array([7]), np.zeros(1))
    expected = 25 * trend**2 + smooth**2 + private**2 + LEVEL_SD**2
    assert covariance(PRIOR, matching_pairs(end, end))[0] == pytest.approx(expected)
