"""What a study says of itself: closed forms, and the sentences."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_tests.test_volume import record

from search.convergence import chance, convergence, progress, stopped_at, tau
from search.records import Record

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


def test_a_perfect_predictor_has_tau_one_and_the_opposite_minus_one() -> None:
    found = convergence(PERFECT)
    assert (found.rung, found.top, found.networks, found.missing) == (1, 4, 5, 0)
    assert found.rung_tau == pytest.approx(1)  # the better early, the better at the end
    assert found.params_tau == pytest.approx(1)  # the more params, the less error
    assert found.macs_tau == pytest.approx(-1)


def test_tau_is_concordant_less_discordant_pairs() -> None:
    """Of the six pairs of 1 2 3 4 and 1 3 2 4 one is discordant: (5 - 1) / 6."""
    assert tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("errors", [[], [1.0, 2.0], [5.0, 5.0, 5.0]])
def test_tau_of_few_or_equal_values_is_none(errors: list[float]) -> None:
    assert tau(list(range(len(errors))), errors) is None


@given(VALUES)
def test_tau_is_symmetric_and_turns_with_its_sign(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    there, back, turned = tau(a, b), tau(b, a), tau([-x for x in a], b)
    if there is None:
        assert back is turned is None
    else:
        assert -1 <= there <= 1
        assert (back, turned) == pytest.approx((there, -there))


def test_chance_is_that_of_kendall() -> None:
    """Variance 2 (2 n + 5) / (9 n (n - 1)): 50 / 810 for n = 10."""
    assert chance(10) == pytest.approx(1.96 * (50 / 810) ** 0.5)
    assert chance(3) == 1.0


def test_only_networks_with_both_errors_are_audited() -> None:
    unscored = replace(trained(5, 0.0, 99.0, 1), rungs={})
    failed = replace(record(6, "failed", 1.0, 1.0), rungs={1: 10.0})
    copy = replace(trained(7, 0.0, 99.0, 1), state="duplicate")
    over = replace(trained(8, 55.0, 25.5, 104), state="infeasible")
    assert convergence([*PERFECT, unscored, failed, copy]) == convergence(PERFECT)
    assert convergence([*PERFECT, over]).networks == 6


def test_a_study_without_rungs_is_audited_by_its_costs_alone() -> None:
    plain = [replace(one, rungs={4: one.rungs[4]}) for one in PERFECT[:3]]
    plain += [replace(one, rungs={}) for one in PERFECT[3:]]
    found = convergence(plain)
    assert (found.rung, found.top, found.rung_tau, found.networks) == (None, None, None, 5)
    assert found.params_tau == pytest.approx(1)
    assert found.told == (
        "Self-audit, Kendall's tau with the final error (1 is a perfect predictor), n = 5 networks: params 1.00, "
        "MACs -1.00; unrelated numbers stay within 0.80 of 0 in 95 % of cases."
    )


def test_the_audit_tells_of_rungs_and_of_who_is_missing() -> None:
    told = convergence([*PERFECT, stopped(7, 1), stopped(8, 1, 2)]).told
    assert "error after 1 of 4 epochs 1.00, params 1.00, MACs -1.00" in told
    assert told.endswith("; 2 networks stopped early are missing, so it is about the survivors alone.")


def test_few_networks_are_too_few() -> None:
    found = convergence([*PERFECT[:2], stopped(7, 1)])
    assert (found.networks, found.rung_tau, found.params_tau, found.macs_tau) == (2, None, None, None)
    assert found.told == (
        "Self-audit: 2 networks trained to the end, too few to rank by what was known early; "
        "1 network stopped early is missing, so it is about the survivors alone."
    )
    assert convergence([]).networks == 0


def test_equal_values_are_told_to_have_no_tau() -> None:
    assert "params undefined" in convergence([replace(one, costs={"params": 1, "macs": 1}) for one in PERFECT]).told


def test_a_network_is_counted_at_the_last_rung_at_which_it_was_stopped() -> None:
    done = replace(PERFECT[0], fingerprint="done")
    several = [
        stopped(10, 1, network="a"),
        stopped(11, 1, network="done"),  # and trained to its end since
        stopped(12, 1, network="b"),
        stopped(13, 1, 2, network="a"),  # went on with 10
        stopped(14, 1, network="c"),
        done,
    ]
    assert stopped_at(several) == {1: 2, 2: 1}
    assert convergence(several).missing == 3


def test_a_course_is_told_in_sentences_and_as_json() -> None:
    found = progress([*PERFECT, stopped(7, 1), stopped(8, 1, 2)], (10.0, 90.0))
    assert found.told == (
        found.plateau.told,
        found.convergence.told,
        "Stopped early: 1 network after 1 epoch, 1 network after 2 epochs.",
    )
    told = found.to_json()
    assert (told["stopped"], told["plateau"]["reached"]) == ({"1": 1, "2": 1}, False)
    assert (told["audit"]["rung_tau"], told["audit"]["told"]) == (pytest.approx(1), found.convergence.told)
    assert len(progress(PERFECT, (10.0, 90.0)).told) == 2
