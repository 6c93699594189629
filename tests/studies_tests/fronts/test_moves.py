"""What moves between the fronts of two backends, on made-up studies."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
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
from search.records import Record
from studies.cli.tables import moves_tables
from studies.fronts.as_json import front_json, study_json
from studies.fronts.front import Front, front_of, fronts_of
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
    # Over the study's limit of parameters, of latency.
    costly: bool = False
    slow: bool = False


def study_of(rows: Sequence[Row], *, after: bool = False) -> LoadedStudy:
    """A study of these networks; those readings were taken with the trials, or after the study."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    for row in rows:
        trial = study.ask()
        readings = {HERE: steady_latency(row.here_ms).to_json()}
        if row.there_ms is not None:
            there = steady_latency(row.there_ms, runtime="torch").to_json()
            if after:
                study.set_user_attr(f"{records.REMEASURED} {trial.number} {THERE}", there)
            else:
                readings[THERE] = there
        trial.set_user_attr(records.FINGERPRINT, f"{trial.number:016d}")
        trial.set_user_attr(records.NETWORK, SMALLEST.to_json())
        trial.set_user_attr(records.COSTS, COSTS)
        trial.set_user_attr(records.LATENCY, readings)
        trial.set_constraint("params", 0.5 if row.costly else -0.5)
        trial.set_constraint("latency_ms", 0.5 if row.slow else -0.5)
        study.tell(trial, (row.error, row.here_ms))
    spec = StudySpec(name="made-up", trials=1)
    return LoadedStudy(study, spec, records.records(study), ("a", "b"), {}, [], Path("weights"))


def numbers(found: Sequence[Record]) -> list[int]:
    return [record.number for record in found]


def trials(moved: Sequence[Moved]) -> list[int]:
    return [one.here.number for one in moved]


def both(rows: Sequence[Row]) -> tuple[Front, Front]:
    loaded = study_of(rows)
    return front_of(loaded), front_of(loaded, THERE)


# Fronts of one backend


@pytest.mark.parametrize("after", [False, True])
def test_a_front_is_seen_from_another_backend(after: bool) -> None:
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


def test_the_latency_limit_of_the_study_holds_on_its_own_backend_only() -> None:
    rows = [Row(30, 1, 1), Row(20, 9, 2, slow=True), Row(10, 9, 3, slow=True, costly=True), Row(5, 2, 9, costly=True)]
    here, there = both(rows)
    assert numbers(here.front) == [0]
    assert numbers(there.front) == [0, 1]
    assert [record.state for record in there.trained] == ["finished", "finished", "infeasible", "infeasible"]
    assert all("latency_ms" not in record.constraints for record in there.trained)


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    loaded = study_of([Row(30, 1, 5)])
    with pytest.raises(InputError, match=r"^backend 'gpu': study 'made-up' was measured on 'cpu onnxruntime', 'cpu to"):
        front_of(loaded, "gpu")


# What moves, worked out by hand


def test_networks_join_and_leave() -> None:
    here, there = both([Row(30, 1, 5), Row(20, 2, 4), Row(15, 2.5, 3), Row(10, 3, 6), Row(12, 4, 3.5), Row(9, 5, None)])
    assert (numbers(here.front), numbers(there.front)) == ([0, 1, 2, 3, 5], [2, 4, 3])
    found = moves(here, there)
    assert (found.here, found.there) == (HERE, THERE)
    assert (trials(found.joined), trials(found.left), numbers(found.unmeasured)) == ([4], [0, 1], [5])
    assert [(one.rank_here, one.rank_there) for one in found.common] == [(1, 4), (2, 3), (3, 1), (4, 5), (5, 2)]
    assert found.tau == pytest.approx((4 - 6) / 10)
    tau = "Kendall's tau of 5 latencies -0.20"
    assert change_text(found) == f"trial 4 joined the front; trial 0, trial 1 left it; {tau}; 1 not measured there"


def test_a_backend_that_is_slower_throughout_moves_nothing() -> None:
    found = moves(*both([Row(30, 1, 10), Row(20, 2, 20), Row(25, 3, 30)]))
    assert (found.joined, found.left, found.unmeasured, found.tau) == ((), (), (), 1.0)
    assert change_text(found) == "the same networks are on the front; Kendall's tau of 3 latencies 1.00"


def test_equal_latencies_share_a_rank_and_may_leave_tau_undefined() -> None:
    found = moves(*both([Row(30, 1, 5), Row(20, 1, 6), Row(10, 1, 7)]))
    assert [one.rank_here for one in found.common] == [1, 1, 1]
    assert found.tau is None
    assert "tau of 3 latencies undefined" in change_text(found)


def test_what_moved_is_told_with_its_ranks() -> None:
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


def test_many_networks_are_not_all_named() -> None:
    records_of = front_of(study_of([Row(30 - n, 1 + n, 1) for n in range(9)])).trained
    assert names_text(records_of).endswith("trial 4, trial 5 and 3 more")
    assert names_text(records_of[:1]) == "trial 0"


def test_the_objective_has_a_front_and_each_further_backend_its_own_with_what_moved() -> None:
    loaded = remeasured(remeasured(sample_loaded(), "cpu", "torch"), "cuda", "torch-graph", missing=[4], seed=3)
    first, *others = fronts_of(loaded)
    told = json.loads(json.dumps(study_json([first, *others]), allow_nan=False))
    further = told.pop("backends")
    assert told == json.loads(json.dumps(front_json(first)))
    assert told["backend"] == HERE
    assert list(further) == ["cpu torch", "cuda torch-graph"]
    for front in others:
        found, said = moves(first, front), further[front.backend]
        assert [entry["trial"] for entry in said["front"]] == numbers(front.front)
        assert [entry["latency_ms"] for entry in said["front"]] == [record.latency_ms for record in front.front]
        assert (said["joined"], said["left"], said["tau"]) == (trials(found.joined), trials(found.left), found.tau)
        assert said["ranks"] == {str(one.here.number): [one.rank_here, one.rank_there] for one in found.common}
        assert (said["networks"], said["knee"]) == (len(front.trained), front.knee.number)
    assert [said["unmeasured"] for said in further.values()] == [[], [4]]


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
def test_one_front_with_what_joined_and_without_what_left_is_the_other(rows: list[Row]) -> None:
    here, there = both(rows)
    found = moves(here, there)
    joined, left, missing = set(trials(found.joined)), set(trials(found.left)), set(numbers(found.unmeasured))
    assert missing == {number for number, row in enumerate(rows) if row.there_ms is None}
    assert set(trials(found.common)) | missing == set(numbers(here.trained))
    assert (set(numbers(here.front)) - missing - left) | joined == set(numbers(there.front))
    assert joined.isdisjoint(numbers(here.front))
    assert left <= set(numbers(here.front)) - missing


@slower
@given(ROWS)
def test_the_way_back_moves_the_same_networks(rows: list[Row]) -> None:
    here, there = both(rows)
    out, back = moves(here, there), moves(there, here)
    assert (trials(out.joined), trials(out.left)) == (trials(back.left), trials(back.joined))
    assert out.tau == (None if back.tau is None else pytest.approx(back.tau))
    assert [(one.rank_here, one.rank_there) for one in out.common] == [
        (one.rank_there, one.rank_here) for one in back.common
    ]


@slower
@given(ROWS, st.integers(2, 5))
def test_a_backend_a_fixed_factor_slower_moves_nothing(rows: list[Row], factor: int) -> None:
    scaled = [Row(row.error, row.here_ms, factor * row.here_ms, row.costly) for row in rows]
    found = moves(*both(scaled))
    assert (found.joined, found.left) == ((), ())
    assert found.tau is None or found.tau == pytest.approx(1)
    assert all(one.rank_here == one.rank_there for one in found.common)


@slower
@given(st.permutations(range(1, 9)))
def test_tau_counts_the_pairs_in_the_same_order(order: list[int]) -> None:
    found = moves(*both([Row(10, here, there) for here, there in enumerate(order, start=1)]))
    signs = [1 if a < b else -1 for a, b in combinations(order, 2)]
    assert found.tau == pytest.approx(sum(signs) / len(signs))
    assert [one.rank_there for one in found.common] == order
