"""The progress of a study: rank correlations in closed form, the sentences, and the standing of a running study."""

import math
from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from search_tests.test_volume import LINEAR, record
from search_tests.tiny import steady_latency

from search import records
from search.box import Objective
from search.progress import Standing, Standings, chance, progress, rank_correlation, tau
from search.records import Record, stopped_at, tally

VALUES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


def trained(number: int, early: float, error: float, params: int) -> Record:
    """A network with an error after one epoch and after four."""
    costs = {"params": params, "macs": 1000 - params}
    return replace(record(number, "finished", 1.0, error), rungs={1: early, 4: error}, costs=costs)


def stopped(number: int, *epochs: int, network: str | None = None) -> Record:
    """A network that was stopped, scored after each of `epochs`."""
    one = record(number, "stopped", 1.0, 50.0)
    return replace(one, rungs=dict.fromkeys(epochs, 50.0), fingerprint=network or one.fingerprint)


PERFECT = [trained(n, 60.0 - n, 30.0 - n, 100 + n) for n in range(5)]


def test_a_perfect_predictor_has_tau_1_and_its_opposite_minus_1() -> None:
    found = rank_correlation(PERFECT)
    assert (found.rung, found.top, found.networks, found.missing) == (1, 4, 5, 0)
    assert found.rung_tau == pytest.approx(1)  # lower early errors, lower final errors
    assert found.params_tau == pytest.approx(1)  # more params, lower errors
    assert found.macs_tau == pytest.approx(-1)


def test_tau_is_concordant_less_discordant_pairs() -> None:
    """Of the six pairs of 1 2 3 4 and 1 3 2 4 one is discordant: (5 - 1) / 6."""
    assert tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("errors", [[], [1.0, 2.0], [5.0, 5.0, 5.0]])
def test_tau_of_few_or_equal_values_is_none(errors: list[float]) -> None:
    assert tau(list(range(len(errors))), errors) is None


@given(VALUES)
def test_tau_is_symmetric_and_odd(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    there, back, negated = tau(a, b), tau(b, a), tau([-x for x in a], b)
    if there is None:
        assert back is negated is None
    else:
        assert -1 <= there <= 1
        assert (back, negated) == pytest.approx((there, -there))


def test_the_chance_level_follows_kendalls_variance() -> None:
    """Variance 2 (2 n + 5) / (9 n (n - 1)): 50 / 810 for n = 10."""
    assert chance(10) == pytest.approx(1.96 * (50 / 810) ** 0.5)
    assert chance(3) == 1.0


def test_only_networks_with_both_errors_are_correlated() -> None:
    unscored = replace(trained(5, 0.0, 99.0, 1), rungs={})
    failed = replace(record(6, "failed", 1.0, 1.0), rungs={1: 10.0})
    copy = replace(trained(7, 0.0, 99.0, 1), state="duplicate")
    over = replace(trained(8, 55.0, 25.5, 104), state="infeasible")
    assert rank_correlation([*PERFECT, unscored, failed, copy]) == rank_correlation(PERFECT)
    assert rank_correlation([*PERFECT, over]).networks == 6


def test_without_rungs_only_costs_are_correlated() -> None:
    plain = [replace(one, rungs={4: one.rungs[4]}) for one in PERFECT[:3]]
    plain += [replace(one, rungs={}) for one in PERFECT[3:]]
    found = rank_correlation(plain)
    assert (found.rung, found.top, found.rung_tau, found.networks) == (None, None, None, 5)
    assert found.params_tau == pytest.approx(1)
    assert found.summary == (
        "Rank correlation with the final error (Kendall's tau, 1 is a perfect predictor, n = 5 networks): params 1.00, "
        "MACs -1.00; by chance, |tau| stays below 0.80 in 95 % of cases."
    )


def test_the_summary_reports_rungs_and_missing_networks() -> None:
    summary = rank_correlation([*PERFECT, stopped(7, 1), stopped(8, 1, 2)]).summary
    assert "error after 1 of 4 epochs 1.00, params 1.00, MACs -1.00" in summary
    assert summary.endswith("; 2 networks stopped early are not included.")


def test_two_networks_are_too_few() -> None:
    found = rank_correlation([*PERFECT[:2], stopped(7, 1)])
    assert (found.networks, found.rung_tau, found.params_tau, found.macs_tau) == (2, None, None, None)
    assert found.summary == (
        "Rank correlation with the final error: available after 3 fully trained networks (2 so far); "
        "1 network stopped early is not included."
    )
    assert rank_correlation([]).networks == 0


def test_a_network_that_was_stopped_and_finished_later_counts_once() -> None:
    twice = [stopped(7, 1), stopped(8, 1), stopped(9, 1, 2)]
    twice = [replace(one, fingerprint="same") for one in twice]
    resumed = replace(stopped(10, 1), fingerprint=PERFECT[0].fingerprint)
    assert tally([*PERFECT, *twice, resumed]) == {"finished": len(PERFECT), "stopped": 1}
    assert tally([*PERFECT, resumed]) == {"finished": len(PERFECT)}


def test_tau_of_equal_values_is_reported_as_undefined() -> None:
    assert (
        "params undefined"
        in rank_correlation([replace(one, costs={"params": 1, "macs": 1}) for one in PERFECT]).summary
    )


def test_a_network_is_counted_at_the_last_rung_at_which_it_was_stopped() -> None:
    done = replace(PERFECT[0], fingerprint="done")
    several = [
        stopped(10, 1, network="a"),
        stopped(11, 1, network="done"),  # trained to the end later
        stopped(12, 1, network="b"),
        stopped(13, 1, 2, network="a"),  # continues trial 10
        stopped(14, 1, network="c"),
        done,
    ]
    assert stopped_at(several) == {1: 2, 2: 1}
    assert rank_correlation(several).missing == 3


def test_progress_is_reported_as_sentences_and_as_json() -> None:
    found = progress([*PERFECT, stopped(7, 1), stopped(8, 1, 2)], LINEAR)
    assert found.sentences == (
        found.plateau.summary,
        found.correlation.summary,
        "Stopped early: 1 network after 1 epoch, 1 network after 2 epochs.",
    )
    document = found.to_json()
    assert (document["stopped"], document["plateau"]["reached"]) == ({"1": 1, "2": 1}, False)
    assert (document["audit"]["rung_tau"], document["audit"]["told"]) == (pytest.approx(1), found.correlation.summary)
    assert len(progress(PERFECT, LINEAR).sentences) == 2


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
    found = Standings(study, 10, None, Objective(), (1, 1), 4.0).now(1, 0.0)
    expected = Standing(1, 10, 0.0, None, resumed=0, pruned=0, failed=1, best=(), hypervolume_percent=None)
    assert (found, found.done) == (expected, 0.1)


def test_the_lowest_errors_are_within_shares_of_the_limit(study: optuna.Study) -> None:
    add(study, 30.0, 1.5)
    add(study, 20.0, 2.0)
    add(study, 10.0, 3.0)
    found = Standings(study, 4, None, Objective(), (1, 1), 4.0).now(3, 0.0)
    assert found.best == ((1.0, None), (2.0, 20.0), (4.0, 10.0))
    ratios = 2.0 / 1.5, 3.0 / 2.0, 4.0 / 3.0  # from one network, and from the last one to the limit
    volume = sum(math.log(ratio) * depth for ratio, depth in zip(ratios, (20, 30, 40), strict=True))
    box = math.log(4.0 / 1.5) * 50.0  # chance level of two classes is 50 %
    assert found.hypervolume_percent == pytest.approx(100 * volume / box)
    linear = Standings(study, 4, None, Objective(axis="linear"), (1, 1), 4.0).now(3, 0.0)
    assert linear.hypervolume_percent == pytest.approx(100 * (0.5 * 20 + 1.0 * 30 + 1.0 * 40) / (4.0 * 50.0))


def test_without_a_limit_the_first_networks_set_the_reference(study: optuna.Study) -> None:
    standings = Standings(study, 4, None, Objective(), (1, 1), None)
    add(study, 30.0, 2.0)
    first = standings.now(1, 0.0).best
    assert [limit for limit, _ in first] == pytest.approx([0.55, 1.1, 2.2])
    add(study, 20.0, 1.0)
    assert [error for _, error in standings.now(2, 0.0).best] == [None, 20.0, 20.0]


def test_trials_are_counted_by_state(study: optuna.Study) -> None:
    study.add_trial(create_trial(state=TrialState.PRUNED, user_attrs={records.RUNGS: {"1": 40.0}}))
    study.add_trial(create_trial(state=TrialState.PRUNED))
    add(study, 30.0, 1.0, **{records.CONTINUES: 0})
    found = Standings(study, 4, None, Objective(), (1, 1), 4.0).now(1, 0.5)
    assert (found.pruned, found.resumed, found.failed) == (2, 1, 0)


@pytest.mark.parametrize(
    ("counted", "cost", "budget", "done"),
    [(1, 3.0, None, 0.25), (1, 3.0, 6.0, 0.5), (3, 3.0, 6.0, 0.75), (5, 3.0, None, 1.0), (1, 7.0, 6.0, 1.0)],
)
def test_a_study_is_done_by_its_trials_or_its_budget(
    study: optuna.Study, counted: int, cost: float, budget: float | None, done: float
) -> None:
    assert Standings(study, 4, budget, Objective(), (1, 1), 4.0).now(counted, cost).done == done


def test_running_trials_are_added_when_they_end(study: optuna.Study) -> None:
    standings = Standings(study, 4, None, Objective(), (1, 1), 4.0)
    trial = study.ask()
    assert standings.now(0, 0.0).failed == 0
    study.tell(trial, state=TrialState.FAIL)
    assert standings.now(1, 0.0).failed == 1
