"""The standing of a study: its counts, the lowest errors within three latencies and the hypervolume."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from search_tests.tiny import steady_latency

from search import records
from search.standing import Standing, Standings


@pytest.fixture
def study() -> optuna.Study:
    """An empty study in memory."""
    return optuna.create_study(directions=["minimize", "minimize"])


def add(study: optuna.Study, error: float, milliseconds: float, **attrs: object) -> None:
    """Add a trained network."""
    latency = steady_latency(milliseconds)
    attrs |= {records.LATENCY: {latency.backend: latency.to_json()}}
    study.add_trial(create_trial(values=[error, milliseconds], user_attrs=attrs))


def test_a_study_without_trained_networks_has_no_front(study: optuna.Study) -> None:
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={records.REASON: records.INTERRUPTED}))
    found = Standings(study, 10, 2, 4.0).now(1, 0.0)
    assert found == Standing(1, 10, 0.1, resumed=0, pruned=0, failed=1, best=(), hypervolume_percent=None)


def test_the_lowest_errors_are_within_shares_of_the_limit(study: optuna.Study) -> None:
    add(study, 30.0, 1.5)
    add(study, 20.0, 2.0)
    add(study, 10.0, 3.0)
    found = Standings(study, 4, 2, 4.0).now(3, 0.0)
    assert found.best == ((1.0, None), (2.0, 20.0), (4.0, 10.0))
    box = 4.0 * 50.0  # chance level of two classes is 50 %
    assert found.hypervolume_percent == pytest.approx(100 * (0.5 * 20 + 1.0 * 30 + 1.0 * 40) / box)


def test_without_a_limit_the_first_networks_set_the_reference(study: optuna.Study) -> None:
    standings = Standings(study, 4, 2, None)
    add(study, 30.0, 2.0)
    first = standings.now(1, 0.0).best
    assert [limit for limit, _ in first] == pytest.approx([0.55, 1.1, 2.2])
    add(study, 20.0, 1.0)
    assert [error for _, error in standings.now(2, 0.0).best] == [None, 20.0, 20.0]


def test_trials_are_counted_by_state(study: optuna.Study) -> None:
    study.add_trial(create_trial(state=TrialState.PRUNED, user_attrs={records.RUNGS: {"1": 40.0}}))
    study.add_trial(create_trial(state=TrialState.PRUNED))
    add(study, 30.0, 1.0, **{records.CONTINUES: 0})
    found = Standings(study, 4, 2, 4.0).now(1, 0.5)
    assert (found.pruned, found.resumed, found.failed, found.done) == (2, 1, 0, 0.5)


def test_running_trials_are_added_when_they_end(study: optuna.Study) -> None:
    standings = Standings(study, 4, 2, 4.0)
    trial = study.ask()
    assert standings.now(0, 0.0).failed == 0
    study.tell(trial, state=TrialState.FAIL)
    assert standings.now(1, 0.0).failed == 1
