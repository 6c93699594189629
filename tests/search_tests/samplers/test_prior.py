"""Earlier work on synthetic networks, whose error and latency depend on their size."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from search.box import Box
from search.earlier import Outcome
from search.samplers.acquisition import Acquisition, Rungs
from search.samplers.features import Features, features_of
from search.samplers.prior import TRANSFER, Prior, informed

Array = NDArray[np.float64]

EDGE = 90.0
BOX = Box(10.0, EDGE, 0.5)
OWN, BEFORE = np.linspace(0, 1, 9), np.linspace(0.03, 0.97, 12)  # sizes


def features(own: Array = OWN, before: Array = BEFORE) -> Features:
    """Features of the networks of a search, then of earlier networks."""
    sizes = np.concatenate([own, before])
    return features_of(np.column_stack([sizes, np.arange(len(sizes)) % 3]))


def error_of(size: Array, level: float = 60.0) -> Array:
    """Error in percent; larger networks err less."""
    return level * np.exp(-1.2 * size)


def outcomes(level: float = 60.0, source: int = 0) -> list[Outcome]:
    """Outcomes of the earlier networks, at a rung and at the end."""
    return [
        Outcome(1 + 4 * size, {0.5: error + 5, 1.0: error}, source)
        for size, error in zip(BEFORE.tolist(), error_of(BEFORE, level).tolist(), strict=True)
    ]


def flat(columns: Features) -> tuple[Array, Array]:
    """Slopes of zero."""
    return np.zeros(columns.columns.shape[1]), np.zeros(columns.columns.shape[1])


def test_earlier_work_predicts_the_order_of_other_networks() -> None:
    found = Prior(outcomes()).predict(features(), flat(features()), EDGE)
    assert found.error is not None
    assert found.latency is not None
    assert spearmanr(found.error, error_of(OWN)).statistic > 0.95
    assert spearmanr(found.latency, OWN).statistic > 0.95


def test_what_was_not_recorded_is_not_predicted() -> None:
    only_errors = [Outcome(None, each.errors) for each in outcomes()]
    only_latencies = [Outcome(each.latency_ms, {}) for each in outcomes()]
    assert Prior(only_errors).predict(features(), flat(features()), EDGE).latency is None
    assert Prior(only_latencies).predict(features(), flat(features()), EDGE).error is None


def test_levels_of_different_sources_are_not_compared() -> None:
    """The second source has the same networks on data that is twice as hard; the order stays that of the sizes."""
    sizes = np.concatenate([BEFORE, BEFORE])
    prior = Prior([*outcomes(40.0), *outcomes(80.0, source=1)])
    columns = features(before=sizes)
    found = prior.predict(columns, flat(columns), EDGE)
    assert found.error is not None
    assert spearmanr(found.error, error_of(OWN)).statistic > 0.9


def test_hyperparameters_are_learnt_once() -> None:
    prior = Prior(outcomes())
    first = prior.predict(features(), flat(features()), EDGE)
    learnt = prior.memory
    second = prior.predict(features(), flat(features()), EDGE)
    assert learnt.error is not None
    assert prior.memory == learnt
    assert first.error == pytest.approx(second.error, abs=1e-6)


def test_a_prediction_becomes_a_feature_with_the_only_slope() -> None:
    columns = features().first(len(OWN))
    prediction = 0.3 * OWN
    found, slopes = informed(columns, np.ones(2), prediction)
    assert found.count == columns.count + 1
    assert slopes[:2].tolist() == [0, 0]
    expected = found.columns @ slopes
    assert np.ptp(expected) == pytest.approx(TRANSFER * np.ptp(prediction))
    assert informed(columns, np.ones(2), None)[0] is columns
    assert informed(columns, np.ones(2), np.zeros(len(OWN)))[1].tolist() == [0, 0, 0]


def acquisition(prior: Prior | None) -> Acquisition:
    columns = features()
    prediction = prior.predict(columns, flat(columns), EDGE) if prior else None
    return Acquisition(columns.first(len(OWN)), Rungs((0.5, 1.0)), BOX, 0.01, prediction=prediction)


def test_a_search_with_earlier_work_expects_its_order_from_the_start() -> None:
    expected = acquisition(Prior(outcomes())).log_error()[0]
    assert spearmanr(expected, error_of(OWN)).statistic > 0.95
    assert np.ptp(acquisition(None).log_error()[0]) == pytest.approx(0, abs=1e-9)


def test_a_search_learns_that_earlier_work_is_wrong() -> None:
    """The earlier work has the opposite order. With six errors of its own, the search predicts the others well."""
    opposite = [
        Outcome(each.latency_ms, other.errors) for each, other in zip(outcomes(), outcomes()[::-1], strict=True)
    ]
    found = acquisition(Prior(opposite))
    assert spearmanr(found.log_error()[0], error_of(OWN)).statistic < -0.9
    for network in (0, 2, 3, 5, 6, 8):
        found.read(network, 1 + 4 * float(OWN[network]))
        found.score(network, 1, float(error_of(OWN)[network]))
    unseen = [1, 4, 7]
    assert np.exp(found.log_error()[0][unseen]) == pytest.approx(error_of(OWN)[unseen], rel=0.1)
