"""The Gaussian process: exact by textbook formulas, fast updates, and what a score at a low rung explains."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.samplers import surrogate
from search.samplers.features import Features, features_of
from search.samplers.surrogate import (
    BOUND_SD,
    JITTER,
    LENGTHSCALE,
    LEVEL_SD,
    MIN_VALUES,
    NAMES,
    PRIOR,
    Inputs,
    Kernel,
    Posterior,
    Values,
    at_end,
    learnt,
    matern,
    prior,
)

Array = NDArray[np.float64]

STEP = 1e-5  # of a finite difference
LEVEL = float(np.log(30.0))
NETWORKS = 12
SEEDS = st.integers(0, 999)


def made_up_features(seed: int = 0, n: int = NETWORKS) -> Features:
    """Two descriptors and two choices of n networks: four groups, one of them of two columns and one of three."""
    rng = np.random.default_rng(seed)
    choices = np.column_stack([rng.permutation(np.arange(n) % options) for options in (2, 3)])
    return features_of(rng.standard_normal((n, 2)), choices)


def made_up_values(features: Features, number: int, seed: int = 0) -> Values:
    """Values that fall with the first descriptor. Some networks have several, with more or less training left."""
    rng = np.random.default_rng(seed)
    pairs = [(network, to_go) for network in range(len(features.columns)) for to_go in (0.0, 1.0, 3.0)]
    network, to_go = np.array(pairs)[rng.permutation(len(pairs))[:number]].reshape(-1, 2).T
    network = network.astype(np.int64)
    logs = LEVEL + 0.2 * to_go - 0.3 * features.columns[network, 0] + 0.03 * rng.standard_normal(number)
    return Values(network, to_go, logs)


def part(values: Values, places: slice | list[int]) -> Values:
    """The values at these places."""
    return Values(values.network[places], values.to_go[places], values.logs[places])


def random_hyperparameters(features: Features, seed: int) -> Array:
    medians, deviations = prior(features.count)
    return np.asarray(medians + np.random.default_rng(seed).normal(0, 1, len(medians)) * np.minimum(deviations, 0.5))


def process(features: Features, values: Values, seed: int = 0, trend: Array | None = None) -> Posterior:
    """A posterior with random hyperparameters."""
    mean = LEVEL + (np.zeros(len(features.columns)) if trend is None else trend)
    return Posterior(Kernel(features, random_hyperparameters(features, seed)), mean, values)


# The kernel


@given(seed=SEEDS)
def test_the_covariance_is_symmetric_and_positive_semidefinite(seed: int) -> None:
    features = made_up_features(seed)
    values = made_up_values(features, 20, seed)
    gram = Kernel(features, random_hyperparameters(features, seed))(values, values)
    assert gram == pytest.approx(gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-9


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.0, 2.0), (1.0, 3.0)])
def test_a_covariance_is_the_sum_of_its_parts(first: float, second: float) -> None:
    features = made_up_features()
    hyperparameters = random_hyperparameters(features, 0)
    trend, smooth, private, closeness, drift, private_drift = np.exp(hyperparameters[: len(NAMES)])
    lengthscales = np.exp(hyperparameters[len(NAMES) :])
    for a, b in ((0, 0), (0, 1), (3, 7)):
        squares = sum(
            (features.columns[a, column] - features.columns[b, column]) ** 2 / lengthscales[of_group] ** 2
            for column, of_group in enumerate(features.groups)
        )
        correlation = float(matern(np.array(squares)))
        expected = closeness ** (first + second) * (
            trend**2 * float(features.columns[a] @ features.columns[b])
            + smooth**2 * correlation
            + private**2 * (a == b)
        )
        fewer = min(first, second)
        expected += fewer * (drift**2 * correlation + private_drift**2 * (a == b)) + LEVEL_SD**2 * (1 + fewer)
        inputs = Inputs(np.array([a]), np.array([first])), Inputs(np.array([b]), np.array([second]))
        assert Kernel(features, hyperparameters)(*inputs)[0, 0] == pytest.approx(expected)


def test_the_matern_correlation() -> None:
    assert matern(np.array([0.0])) == pytest.approx([1.0])
    root = np.sqrt(5) * 0.7
    assert matern(np.array([0.7**2])) == pytest.approx([(1 + root + root**2 / 3) * np.exp(-root)])
    assert (np.diff(matern(np.linspace(0, 9, 50))) < 0).all()


@given(seed=SEEDS, to_go=st.tuples(st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([0.0, 2.0])))
def test_the_covariances_of_the_same_network_are_the_diagonal(seed: int, to_go: tuple[float, float]) -> None:
    features = made_up_features(seed)
    kernel, everything = Kernel(features, random_hyperparameters(features, seed)), np.arange(NETWORKS)
    first, second = (Inputs(everything, np.full(NETWORKS, left)) for left in to_go)
    assert kernel.of_same(everything, *to_go) == pytest.approx(np.diag(kernel(first, second)))


def test_lengthscales_grow_with_the_number_of_groups() -> None:
    """The squared distance of two networks is the sum over groups, so the prior correlation stays the same."""
    for groups in (1, 4, 9):
        medians, deviations = prior(groups)
        assert len(medians) == len(deviations) == len(NAMES) + groups
        assert medians[: len(NAMES)].tolist() == PRIOR.tolist()
        assert np.exp(medians[len(NAMES) :]) == pytest.approx(LENGTHSCALE * np.sqrt(groups))


# The posterior


@settings(max_examples=40)
@given(seed=SEEDS, number=st.integers(0, 25))
def test_the_posterior_is_that_of_the_textbook(seed: int, number: int) -> None:
    """Equations 2.25 and 2.26 of Rasmussen and Williams, 2006."""
    features = made_up_features(seed)
    values, trend = made_up_values(features, number, seed), 0.1 * features.columns[:, 1]
    found = process(features, values, seed, trend)
    kernel, ends = found.kernel, at_end(np.arange(NETWORKS))
    gram = kernel(values, values) + JITTER * np.eye(number)
    across, prior_mean = kernel(values, ends), LEVEL + trend
    mean = prior_mean + across.T @ np.linalg.solve(gram, values.logs - prior_mean[values.network])
    variance = np.diag(kernel(ends, ends) - across.T @ np.linalg.solve(gram, across))
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.deviation**2 == pytest.approx(variance, abs=1e-5)


@settings(max_examples=40)
@given(seed=SEEDS, cuts=st.lists(st.integers(0, 25), max_size=4))
def test_values_that_are_added_in_parts_give_the_same_posterior(seed: int, cuts: list[int]) -> None:
    features = made_up_features(seed)
    values = made_up_values(features, 25, seed)
    at_once = process(features, values, seed)
    edges = [0, *sorted(cuts), 25]
    in_parts = process(features, part(values, slice(0, 0)), seed)
    for first, last in pairwise(edges):
        in_parts.extend(part(values, slice(first, last)))
    assert in_parts.mean == pytest.approx(at_once.mean, abs=1e-6)
    assert in_parts.deviation == pytest.approx(at_once.deviation, abs=1e-5)
    assert in_parts.seen.network.tolist() == values.network.tolist()
    for to_go in (0.0, 1.0):
        explained = partial(Posterior.explained, networks=np.arange(NETWORKS), to_go=to_go)
        assert explained(in_parts) == pytest.approx(explained(at_once), abs=1e-4)


def test_the_order_of_values_does_not_matter() -> None:
    features = made_up_features()
    values = made_up_values(features, 20)
    there, back = process(features, values), process(features, part(values, list(range(20))[::-1]))
    assert there.mean == pytest.approx(back.mean)
    assert there.deviation == pytest.approx(back.deviation)


def test_without_values_predictions_are_the_prior() -> None:
    features = made_up_features()
    found = process(features, made_up_values(features, 0), trend=features.columns[:, 0])
    trend, smooth, private, *_ = np.exp(random_hyperparameters(features, 0))
    expected = trend**2 * (features.columns**2).sum(axis=1) + smooth**2 + private**2 + LEVEL_SD**2
    assert found.mean == pytest.approx(LEVEL + features.columns[:, 0])
    assert found.deviation == pytest.approx(np.sqrt(expected))


def test_uncertainty_vanishes_at_observed_ends_and_grows_with_distance() -> None:
    features = features_of(np.array([[0.0], [0.0], [0.5], [5.0]]))  # observed, its twin, near and far
    values = Values(np.array([0]), np.array([0.0]), np.array([LEVEL - 0.2]))
    deviation = process(features, values).deviation
    assert process(features, values).mean[0] == pytest.approx(LEVEL - 0.2, abs=1e-4)
    assert deviation[0] < 2 * np.sqrt(JITTER)
    assert (np.diff(deviation) > 1e-3).all()


def test_a_score_at_a_low_rung_reduces_uncertainty_and_a_higher_rung_more() -> None:
    features = made_up_features()
    scores = [Values(np.array([0]), np.array([to_go]), np.array([LEVEL])) for to_go in (3.0, 1.0, 0.0)]
    deviations = [process(features, seen).deviation[0] for seen in (made_up_values(features, 0), *scores)]
    assert (np.diff(deviations) < 0).all()


def test_a_bad_score_at_a_low_rung_raises_the_predicted_error_of_its_network_most() -> None:
    features = features_of(np.array([[0.0], [0.0], [4.0]]))
    means = [
        process(features, Values(np.array([0]), np.array([2.0]), np.array([LEVEL + change]))).mean
        for change in (-0.3, 0.3)
    ]
    own, twin, far = means[1] - means[0]
    assert own > twin > far > 0


# What a score would explain


@settings(max_examples=40)
@given(seed=SEEDS, number=st.integers(0, 20), to_go=st.sampled_from([0.0, 1.0, 2.0, 4.0]))
def test_the_explained_part_is_that_of_the_joint_covariance(seed: int, number: int, to_go: float) -> None:
    """The score and the final value are jointly normal given the values seen: explained is |covariance| / deviation."""
    features = made_up_features(seed)
    values = made_up_values(features, number, seed)
    found = process(features, values, seed)
    kernel, networks = found.kernel, np.array([0, 5])
    gram = kernel(values, values) + JITTER * np.eye(number)
    for place, explained in enumerate(found.explained(networks, to_go)):
        both = Inputs(networks[[place, place]], np.array([0.0, to_go]))
        across = kernel(values, both)
        joint = kernel(both, both) - across.T @ np.linalg.solve(gram, across)
        expected = abs(joint[0, 1]) / np.sqrt(max(joint[1, 1], JITTER))
        assert explained == pytest.approx(min(expected, found.deviation[networks[place]]), abs=1e-4)


@settings(max_examples=40)
@given(seed=SEEDS, to_go=st.sampled_from([1.0, 2.0, 4.0]), surprise=st.floats(-1, 1))
def test_a_score_removes_the_explained_variance_whatever_it_is(seed: int, to_go: float, surprise: float) -> None:
    features = made_up_features(seed)
    values = made_up_values(features, NETWORKS - 1, seed)
    found = process(features, values, seed)
    network = int(np.flatnonzero(~np.isin(np.arange(NETWORKS), values.network[values.to_go == 0]))[0])
    networks = np.array([network])
    before, explained = found.deviation[network], found.explained(networks, to_go)[0]
    found.extend(Values(networks, np.array([to_go]), np.array([LEVEL + surprise])))
    assert found.deviation[network] ** 2 == pytest.approx(before**2 - explained**2, abs=1e-4)


def test_the_final_value_explains_everything_and_earlier_scores_explain_less() -> None:
    features = made_up_features()
    found = process(features, made_up_values(features, 0))
    everything = np.arange(NETWORKS)
    explained = np.array([found.explained(everything, to_go) for to_go in (0.0, 1.0, 3.0)])
    assert explained[0] == pytest.approx(found.deviation, abs=1e-4)
    assert (np.diff(explained, axis=0) < 0).all()
    assert (explained > 0).all()


# Hyperparameters


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, number=st.integers(3, 25))
def test_the_gradient_of_the_loss_matches_finite_differences(seed: int, number: int) -> None:
    features = made_up_features(seed)
    values = made_up_values(features, number, seed)
    point, (medians, deviations) = random_hyperparameters(features, seed), prior(features.count)

    def loss(hyperparameters: Array) -> tuple[float, Array]:
        return surrogate._loss(hyperparameters, features, values, values.logs - LEVEL, medians, deviations)

    numeric = [(loss(point + step)[0] - loss(point - step)[0]) / (2 * STEP) for step in STEP * np.eye(len(point))]
    assert len(numeric) == len(NAMES) + 4
    assert loss(point)[1] == pytest.approx(np.array(numeric), rel=1e-4, abs=1e-3)


def test_the_loss_is_the_negative_log_density_of_values_and_prior() -> None:
    features = made_up_features()
    values = made_up_values(features, 10)
    medians, deviations = prior(features.count)
    losses, densities = [], []
    for seed in range(3):
        point = random_hyperparameters(features, seed)
        gram = Kernel(features, point)(values, values) + JITTER * np.eye(10)
        residual = values.logs - LEVEL
        losses.append(surrogate._loss(point, features, values, residual, medians, deviations)[0])
        of_values = -0.5 * residual @ np.linalg.solve(gram, residual) - 0.5 * np.linalg.slogdet(gram)[1]
        densities.append(of_values - 0.5 * (((point - medians) / deviations) ** 2).sum())
    assert np.diff(losses) == pytest.approx(-np.diff(densities))  # equal up to a constant


def test_learning_lowers_the_loss_and_stays_within_the_bounds() -> None:
    features = made_up_features()
    values, (medians, deviations) = made_up_values(features, 30), prior(features.count)
    mean = np.full(NETWORKS, LEVEL)
    found = learnt(features, mean, values)
    losses = [
        surrogate._loss(point, features, values, values.logs - LEVEL, medians, deviations)[0]
        for point in (found, medians)
    ]
    assert losses[0] < losses[1] - 1
    assert (np.abs(found - medians) <= BOUND_SD * deviations + 1e-9).all()
    assert learnt(features, mean, values, start=found) == pytest.approx(found, abs=0.05)


def test_learning_is_deterministic() -> None:
    features = made_up_features()
    values, mean = made_up_values(features, 20), np.full(NETWORKS, LEVEL)
    assert learnt(features, mean, values).tolist() == learnt(features, mean, values).tolist()


def test_few_values_leave_the_prior_medians() -> None:
    features = made_up_features()
    values, (medians, _) = made_up_values(features, MIN_VALUES), prior(features.count)
    mean = np.full(NETWORKS, LEVEL)
    assert learnt(features, mean, part(values, slice(MIN_VALUES - 1))).tolist() == medians.tolist()
    assert learnt(features, mean, values).tolist() != medians.tolist()


def test_irrelevant_features_get_long_lengthscales() -> None:
    rng = np.random.default_rng(0)
    features = features_of(rng.uniform(-1, 1, (60, 2)))
    logs = LEVEL + 0.3 * np.sin(3 * features.columns[:, 0])
    found = learnt(features, np.full(60, LEVEL), Values(np.arange(60), np.zeros(60), logs))
    relevant, irrelevant = found[len(NAMES) :]
    assert irrelevant > relevant + 1


def test_a_slope_is_extrapolated() -> None:
    """Of 20 networks, one at either end is not seen."""
    column = np.linspace(-1, 1, 20)
    features, logs = features_of(column[:, None]), LEVEL - 0.5 * column
    mean, seen = np.full(20, LEVEL), np.arange(4, 16)
    values = Values(seen, np.zeros(12), logs[seen])
    found = Posterior(Kernel(features, learnt(features, mean, values)), mean, values)
    assert found.mean[[0, -1]] == pytest.approx(logs[[0, -1]], abs=0.1)


def test_hyperparameters_of_many_values_are_learnt_from_a_random_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "MAX_LEARNT", 10)
    features = made_up_features()
    values, mean = made_up_values(features, 30), np.full(NETWORKS, LEVEL)
    used: list[Values] = []

    def loss(point: Array, _: Features, seen: Values, residual: Array, *prior: Array) -> tuple[float, Array]:
        used.append(seen)
        assert residual.tolist() == (seen.logs - LEVEL).tolist()
        return 0.0, np.zeros(len(point))

    monkeypatch.setattr(surrogate, "_loss", loss)
    for number in (10, 11, 30, 30):
        learnt(features, mean, part(values, slice(number)))
    assert used[0].logs.tolist() == values.logs[:10].tolist()
    assert [len(seen) for seen in used] == [10] * 4
    pairs = [set(zip(seen.network.tolist(), seen.logs.tolist(), strict=True)) for seen in used]
    assert all(len(each) == 10 for each in pairs)
    assert pairs[2] == pairs[3] <= set(zip(values.network.tolist(), values.logs.tolist(), strict=True))
    assert not pairs[2] <= set(zip(values.network[:10].tolist(), values.logs[:10].tolist(), strict=True))


def test_a_failed_optimization_leaves_the_prior_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    features = made_up_features()
    monkeypatch.setattr(surrogate, "_loss", lambda point, *_: (np.inf, np.zeros(len(point))))
    start = random_hyperparameters(features, 1)
    found = learnt(features, np.full(NETWORKS, LEVEL), made_up_values(features, 10), start)
    assert found.tolist() == prior(features.count)[0].tolist()


def test_without_features_the_values_of_other_networks_set_the_level() -> None:
    features = features_of(np.zeros((6, 0)))
    values = Values(np.arange(5), np.zeros(5), LEVEL + np.linspace(0, 0.4, 5))
    found = Posterior(Kernel(features, learnt(features, np.zeros(6), values)), np.zeros(6), values)
    assert found.mean[5] == pytest.approx(LEVEL + 0.2, abs=0.1)
    assert found.deviation[5] > 0.1
