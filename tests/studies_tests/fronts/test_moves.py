"""Changes between the fronts of two backends, on made-up studies."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import combinations
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from search_tests.tiny import SMALLEST, steady_latency
from studies_tests.sample import remeasured, sample_loaded

from search import records
from search.records import Record, seen_on
from studies.cli.tables import moves_tables
from studies.fronts.as_json import front_json, study_json
from studies.fronts.front import ParetoFront, front_of, fronts_of
from studies.fronts.moves import Moved, moves
from studies.fronts.wording import change_text, names_text
from studies.spec import StudySpec
from studies.study import LoadedStudy, backends_of
from threshnet import InputError

HERE, THERE = "cpu onnxruntime", "cpu torch"
COSTS = {"params": 1000, "macs": 2000, "flops": 2100, "madd": 4000, "memory_bytes": 400}


@dataclass(frozen=True)
class Row:
    """A trained network of a made-up study on two backends."""

    error: float
    here_ms: float
    # None: not measured there.
    there_ms: float | None
    # Violates the study's constraint on parameters, on latency.
    costly: bool = False
    slow: bool = False


def study_of(rows: Sequence[Row], *, after: bool = False) -> LoadedStudy:
    """Make a study of these networks, measured on the second backend in each trial, or `after` the study."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    for row in rows:
        trial = study.ask()
        readings = {HERE: steady_latency(row.here_ms).to_json()}
        if row.there_ms is not None:
            reading = steady_latency(row.there_ms, runtime="torch").to_json()
            if after:
                study.set_user_attr(f"{records.REMEASURED} {trial.number} {THERE}", reading)
            else:
                readings[THERE] = reading
        trial.set_user_attr(records.FINGERPRINT, f"{trial.number:016d}")
        trial.set_user_attr(records.NETWORK, SMALLEST.to_json())
        trial.set_user_attr(records.COSTS, COSTS)
        trial.set_user_attr(records.LATENCY, readings)
        trial.set_constraint("params", 0.5 if row.costly else -0.5)
        trial.set_constraint("latency_ms", 0.5 if row.slow else -0.5)
        study.tell(trial, (row.error, row.here_ms))
    spec = StudySpec(name="made-up", trials=1)
    return LoadedStudy(study, spec, records.records(study), ("a", "b"), {}, [], Path("weights"))


def numbers(several: Sequence[Record]) -> list[int]:
    return [record.number for record in several]


def trials(moved: Sequence[Moved]) -> list[int]:
    return [one.here.number for one in moved]


def both(rows: Sequence[Row]) -> tuple[ParetoFront, ParetoFront]:
    loaded = study_of(rows)
    return front_of(loaded), front_of(loaded, THERE)


# Fronts of one backend


@pytest.mark.parametrize("after", [False, True])
def test_a_front_is_computed_for_another_backend(after: bool) -> None:
    loaded = study_of([Row(30, 1, 5), Row(20, 2, 4), Row(10, 3, 6), Row(40, 0.5, None)], after=after)
    assert backends_of(loaded) == (HERE, THERE)
    here, there = fronts_of(loaded)
    assert (here.backend, numbers(here.front), numbers(here.trained)) == (HERE, [3, 0, 1, 2], [0, 1, 2, 3])
    assert (there.backend, numbers(there.front), numbers(there.trained)) == (THERE, [1, 2], [0, 1, 2])
    for record, milliseconds in zip(there.trained, (5, 4, 6), strict=True):
        assert record.latency_ms == milliseconds
        assert list(record.latency) == [THERE, HERE]
        assert next(iter(record.latency.values())).runtime == "torch"
    assert front_of(loaded, HERE) == front_of(loaded) == here
    assert [entry["latency_ms"] for entry in front_json(there)["front"]] == [4, 6]


def test_the_latency_constraint_of_the_study_applies_to_its_own_backend_only() -> None:
    rows = [Row(30, 1, 1), Row(20, 9, 2, slow=True), Row(10, 9, 3, slow=True, costly=True), Row(5, 2, 9, costly=True)]
    here, there = both(rows)
    assert numbers(here.front) == [0]
    assert numbers(there.front) == [0, 1]
    assert [record.state for record in there.trained] == ["finished", "finished", "infeasible", "infeasible"]
    assert all("latency_ms" not in record.constraints for record in there.trained)


def test_an_unknown_backend_is_rejected_with_a_list_of_the_known_ones() -> None:
    loaded = study_of([Row(30, 1, 5)])
    with pytest.raises(InputError, match=r"^backend 'gpu': study 'made-up' was measured on 'cpu onnxruntime', 'cpu to"):
        front_of(loaded, "gpu")


# Changes worked out by hand


def test_networks_join_and_leave_a_front() -> None:
    here, there = both([Row(30, 1, 5), Row(20, 2, 4), Row(15, 2.5, 3), Row(10, 3, 6), Row(12, 4, 3.5), Row(9, 5, None)])
    assert (numbers(here.front), numbers(there.front)) == ([0, 1, 2, 3, 5], [2, 4, 3])
    change = moves(here, there)
    assert (change.here, change.there) == (HERE, THERE)
    assert (trials(change.joined), trials(change.left), numbers(change.unmeasured)) == ([4], [0, 1], [5])
    assert [(one.rank_here, one.rank_there) for one in change.common] == [(1, 4), (2, 3), (3, 1), (4, 5), (5, 2)]
    assert change.tau == pytest.approx((4 - 6) / 10)
    tau = "Kendall's tau of 5 latencies -0.20"
    assert change_text(change) == f"trial 4 joined the front; trial 0, trial 1 left it; {tau}; 1 not measured there"


def test_a_slower_backend_with_the_same_ranks_changes_nothing() -> None:
    change = moves(*both([Row(30, 1, 10), Row(20, 2, 20), Row(25, 3, 30)]))
    assert (change.joined, change.left, change.unmeasured, change.tau) == ((), (), (), 1.0)
    assert change_text(change) == "the same networks are on the front; Kendall's tau of 3 latencies 1.00"


def test_equal_latencies_share_a_rank_and_may_leave_tau_undefined() -> None:
    change = moves(*both([Row(30, 1, 5), Row(20, 1, 6), Row(10, 1, 7)]))
    assert [one.rank_here for one in change.common] == [1, 1, 1]
    assert change.tau is None
    assert "tau of 3 latencies undefined" in change_text(change)


def test_networks_that_moved_are_listed_with_their_ranks() -> None:
    console = Console(file=StringIO(), width=100)
    for part in moves_tables(moves(*both([Row(30, 1, 5), Row(20, 2, 4), Row(25, 3, 3)]))):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in text.splitlines() if line.lstrip().startswith("trial")]
    assert rows == [
        ["trial", "2", "joined", "25.00", "3.000", "3.000", "3", "to", "1"],
        ["trial", "0", "left", "30.00", "1.000", "5.000", "1", "to", "3"],
    ]
    assert "Moved on cpu torch, against cpu onnxruntime" in text
    assert "On cpu torch: Kendall's tau of 3 latencies -1.00." in text


def test_a_long_list_of_networks_is_shortened() -> None:
    trained = front_of(study_of([Row(30 - n, 1 + n, 1) for n in range(9)])).trained
    assert names_text(trained).endswith("trial 4, trial 5 and 3 more")
    assert names_text(trained[:1]) == "trial 0"


def test_json_has_the_front_of_the_objective_and_of_each_further_backend_with_its_changes() -> None:
    loaded = remeasured(remeasured(sample_loaded(), "cpu", "torch"), "cuda", "torch-graph", missing=[4], seed=3)
    first, *others = fronts_of(loaded)
    document = json.loads(json.dumps(study_json([first, *others]), allow_nan=False))
    further = document.pop("backends")
    assert document == json.loads(json.dumps(front_json(first)))
    assert document["backend"] == HERE
    assert list(further) == ["cpu torch", "cuda torch-graph"]
    for front in others:
        change, entry = moves(first, front), further[front.backend]
        assert [one["trial"] for one in entry["front"]] == numbers(front.front)
        assert [one["latency_ms"] for one in entry["front"]] == [record.latency_ms for record in front.front]
        assert (entry["joined"], entry["left"], entry["tau"]) == (
            trials(change.joined),
            trials(change.left),
            change.tau,
        )
        assert entry["ranks"] == {str(one.here.number): [one.rank_here, one.rank_there] for one in change.common}
        assert (entry["networks"], entry["knee"]) == (len(front.trained), front.picked.number)
    assert [entry["unmeasured"] for entry in further.values()] == [[], [4]]


# Any two fronts

ROWS = st.lists(
    st.builds(Row, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.booleans(), st.booleans()),
    min_size=1,
    max_size=10,
)
GAPS = st.lists(
    st.builds(Row, st.integers(1, 9), st.integers(1, 9), st.none() | st.integers(1, 9)), min_size=1, max_size=10
).filter(lambda rows: any(row.there_ms for row in rows))
slower = settings(deadline=None, max_examples=60)


@slower
@given(GAPS)
def test_a_front_with_the_joined_and_without_the_left_networks_is_the_other_front(rows: list[Row]) -> None:
    here, there = both(rows)
    change = moves(here, there)
    joined, left, missing = set(trials(change.joined)), set(trials(change.left)), set(numbers(change.unmeasured))
    assert missing == {number for number, row in enumerate(rows) if row.there_ms is None}
    assert set(trials(change.common)) | missing == set(numbers(here.trained))
    assert (set(numbers(here.front)) - missing - left) | joined == set(numbers(there.front))
    assert joined.isdisjoint(numbers(here.front))
    assert left <= set(numbers(here.front)) - missing


@slower
@given(ROWS)
def test_swapping_the_backends_swaps_joined_and_left_networks(rows: list[Row]) -> None:
    here, there = both(rows)
    forward, backward = moves(here, there), moves(there, here)
    assert (trials(forward.joined), trials(forward.left)) == (trials(backward.left), trials(backward.joined))
    assert forward.tau == (None if backward.tau is None else pytest.approx(backward.tau))
    assert [(one.rank_here, one.rank_there) for one in forward.common] == [
        (one.rank_there, one.rank_here) for one in backward.common
    ]


@slower
@given(ROWS, st.integers(2, 5))
def test_a_backend_slower_by_a_fixed_factor_changes_nothing(rows: list[Row], factor: int) -> None:
    scaled = [Row(row.error, row.here_ms, factor * row.here_ms, row.costly) for row in rows]
    change = moves(*both(scaled))
    assert (change.joined, change.left) == ((), ())
    assert change.tau is None or change.tau == pytest.approx(1)
    assert all(one.rank_here == one.rank_there for one in change.common)


@slower
@given(st.permutations(range(1, 9)))
def test_tau_counts_pairs_in_the_same_order(order: list[int]) -> None:
    change = moves(*both([Row(10, here, there) for here, there in enumerate(order, start=1)]))
    signs = [1 if a < b else -1 for a, b in combinations(order, 2)]
    assert change.tau == pytest.approx(sum(signs) / len(signs))
    assert [one.rank_there for one in change.common] == order


@pytest.mark.parametrize(
    ("constraints", "state"),
    [
        ({"params": 0.5, "latency_ms": -0.5}, "infeasible"),
        ({"input_size": 0.5, "latency_ms": -0.5}, "infeasible"),
        ({"params": -0.5, "latency_ms": 0.5}, "finished"),
    ],
)
def test_on_another_backend_all_limits_but_that_of_the_latency_apply(constraints: dict[str, float], state: str) -> None:
    record = replace(sample_loaded().records[0], constraints=constraints)
    assert seen_on(record, next(iter(record.latency))).state == state
