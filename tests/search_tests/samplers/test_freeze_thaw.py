"""The freeze-thaw sampler in a study: its start, networks that are only measured, and searches that continue."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from search_tests.searching import EPOCH, RUNGS, Searching, journal
from search_tests.tiny import SMALLEST, SPACE, params_of, tiny_task

from search import records
from search.claims import claim, latest_trials, resumable
from search.objective import record_network
from search.records import Record
from search.run import counted
from search.samplers import pool
from search.samplers.candidates import Candidate
from search.samplers.freeze_thaw import MAX_READINGS, FreezeThawSampler
from search.samplers.known import NO_BOX, acquisition_of
from search.samplers.named import sampler_for
from search.samplers.sampler import StudySampler
from space import Limits, decode, encode
from threshnet.spec import NetworkSpec

# 6 schedules x 40 growths x 40 transitions = 9,600 networks
LARGE = replace(SPACE, name="large", growths=tuple(range(2, 42)), transitions=tuple(range(4, 44)))
LONG = (1, 2, 8)  # rungs with more networks at the start
FIRST_TRIALS = 3  # one to the end, and two at the lowest of RUNGS, which together cost half of a full training
SMALL = decode(LARGE, encode(LARGE, SMALLEST))
BIG = decode(LARGE, {"block1_layers": 3, "block1_threshold": 0, "block1_growth": 39, "block1_transition": 39})


@pytest.fixture(autouse=True)
def _fast_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small pools, and a cost of a reading that does not depend on the time that this machine takes for one."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    monkeypatch.setattr(pool, "FIRST_ROUND", 40)
    monkeypatch.setattr(pool, "ADDED_PER_ROUND", 10)
    monkeypatch.setattr("search.samplers.freeze_thaw.reading_cost", lambda trials, epochs: 0.02)


class Search:
    """A search of the large space."""

    def __init__(self, searching: Searching, seed: int = 0, rungs: tuple[int, ...] = RUNGS) -> None:
        self.searching, self.task = searching, tiny_task(space=LARGE, rungs=rungs)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Use a new sampler, as a new process does."""
        self.policy: StudySampler = sampler_for("freeze_thaw", self.task, seed)
        self.searching.study.sampler = self.policy

    def propose(self, number: int) -> list[Record]:
        """Score the next proposals."""
        return [self.searching.propose(self.task, self.policy) for _ in range(number)]

    def propose_until(self, wanted: Callable[[Record], bool], most: int = 40) -> Record:
        """Score proposals until one is wanted."""
        return next(one for one in iter(lambda: self.propose(1)[0], None) if wanted(one) or one.number > most)

    def score(self, spec: NetworkSpec) -> Record:
        """Score a network."""
        return self.searching.score(spec, self.task, self.policy)


@pytest.fixture
def searching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searching:
    return Searching(tmp_path / "study", monkeypatch)


@pytest.fixture
def search(searching: Searching) -> Search:
    return Search(searching)


def only_measured(one: Record) -> bool:
    return one.state == "not trained" and str(one.reason).startswith(records.LATER)


def fingerprints(read: list[Record]) -> list[str | None]:
    return [one.fingerprint for one in read]


# The start


@pytest.mark.parametrize(("rungs", "at_lowest"), [(RUNGS, 2), (LONG, 4), ((3, 4), 0)])
def test_the_first_network_is_trained_to_the_end_and_then_others_at_the_lowest_rung(
    searching: Searching, rungs: tuple[int, ...], at_lowest: int
) -> None:
    """Those at the lowest rung cost half of a full training; if one of them would cost more, there are none."""
    first, *others = Search(searching, rungs=rungs).propose(1 + at_lowest)
    assert (first.state, list(first.rungs), first.image_passes) == ("finished", list(rungs), rungs[-1] * EPOCH)
    assert len({first.fingerprint, *fingerprints(others)}) == 1 + at_lowest
    for one in others[:-1]:
        assert (one.state, list(one.rungs), one.image_passes) == ("stopped", [rungs[0]], rungs[0] * EPOCH)
    assert all(rungs[0] in one.rungs for one in others)  # after the score of the last one, acquisition values decide
    assert all(one.continues is None for one in others)


def test_without_rungs_every_network_is_trained_to_the_end_or_only_measured(searching: Searching) -> None:
    read = Search(searching, rungs=(2,)).propose(10)
    assert read[0].state == "finished"
    assert all(one.state == "finished" or only_measured(one) for one in read)


def test_the_first_network_is_the_fastest_expected_one_if_all_exceed_the_limit(search: Search) -> None:
    task = replace(search.task, limits=Limits(latency_ms=1e-6))
    sampler = FreezeThawSampler(task, 0)
    search.searching.study.sampler = sampler
    proposed = decode(LARGE, search.searching.study.ask().relative_params)
    fresh = [Candidate(name, each.descriptors, None, {}, True, "open") for name, each in sampler.pool.entries.items()]
    mean, _ = acquisition_of(fresh, task, NO_BOX, 0.02).log_latency()
    assert fresh[int(np.argmin(mean))].fingerprint == proposed.fingerprint()


def test_a_proposal_is_recorded_in_its_trial(search: Search) -> None:
    search.propose(2)
    assert search.searching.study.trials[0].user_attrs[records.PROPOSAL] == {"by": "FreezeThawSampler", "among": 40}
    assert search.searching.study.trials[1].user_attrs[records.PROPOSAL]["among"] == 50  # one known, 39 + 10 new


# Training or not


def test_a_network_continues_at_a_rung_while_its_value_is_the_highest(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest network is also the fastest one, and the smallest one the slowest."""
    search.searching.timed(lambda spec: {SMALL: 9.0, BIG: 1.0}.get(spec, 5.0))
    search.propose(FIRST_TRIALS)
    monkeypatch.setattr(FreezeThawSampler, "decide", lambda *_: "train")
    good, bad = search.score(BIG), search.score(SMALL)
    assert (good.state, list(good.rungs)) == ("finished", list(RUNGS))
    assert (bad.state, list(bad.rungs)) == ("stopped", [RUNGS[0]])


def test_after_the_start_a_slow_network_is_only_measured_and_a_fast_one_is_trained(search: Search) -> None:
    latencies = {SMALL.fingerprint(): 900.0, BIG.fingerprint(): 0.001}
    search.searching.timed(lambda spec: latencies.get(spec.fingerprint(), params_of(spec) / 1000))
    search.propose(FIRST_TRIALS)
    slow = search.score(SMALL)
    assert only_measured(slow)
    assert search.searching.done() == ["measure"]
    assert search.score(BIG).rungs
    assert search.searching.done() == ["measure", "train"]


def test_before_the_end_of_the_start_every_network_is_trained(search: Search) -> None:
    search.searching.timed(lambda spec: 900.0 if spec == SMALL else 1.0)
    search.propose(FIRST_TRIALS - 1)
    assert search.score(SMALL).state == "stopped"


# Networks that are only measured


def test_a_network_that_is_only_measured_is_pruned_and_can_be_proposed_again(search: Search) -> None:
    search.propose(FIRST_TRIALS)
    measured = search.propose_until(only_measured)
    assert measured.reason == f"{records.LATER}, {measured_ms(measured):.3g} ms: another network is more promising"
    assert (measured.rungs, measured.image_passes, measured.weights) == ({}, 0, None)
    assert measured.feasible
    trial = search.searching.study.trials[measured.number]
    assert (trial.state, trial.values) == (TrialState.PRUNED, None)
    assert resumable(trial, records.verdict(trial))
    study = search.searching.study
    assert counted(study) == len({one.fingerprint for one in records.records(study) if one.rungs})

    again = search.propose_until(lambda one: one.continues is not None and only_measured(record_of(search, one)))
    assert again.rungs
    assert search.searching.done() == ["train"]  # not measured again
    before = record_of(search, again)
    assert again.fingerprint == before.fingerprint
    assert again.latency == before.latency
    assert records.LATENCY_MS in study.trials[again.number].user_attrs
    assert records.MEASURING_S not in study.trials[again.number].user_attrs


def record_of(search: Search, one: Record) -> Record:
    """The trial that another one continues."""
    assert one.continues is not None
    return records.record(search.searching.study.trials[one.continues])


def measured_ms(one: Record) -> float:
    return records.reading(one).latency_ms


def test_no_network_is_measured_twice(search: Search) -> None:
    calls: list[str] = []
    for _ in range(16):
        search.propose(1)
        calls += search.searching.log
    measured = [call for call in calls if call.startswith("measure")]
    assert len(measured) == len(set(measured)) > FIRST_TRIALS


@pytest.fixture
def disappointing(search: Search) -> Search:
    """A search in which every network is slower than the last one, so that another one always looks better."""
    latencies = iter(1.1**power for power in range(100))
    search.searching.timed(lambda spec: next(latencies))
    return search


@pytest.mark.parametrize("most", [1, 3])
def test_after_a_few_networks_that_were_only_measured_a_known_one_is_trained(
    disappointing: Search, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    assert MAX_READINGS == 5
    monkeypatch.setattr("search.samplers.freeze_thaw.MAX_READINGS", most)
    read = disappointing.propose(FIRST_TRIALS + 12)
    groups = [list(group) for _, group in groupby(read, key=only_measured)]
    in_a_row = [len(group) for group in groups if only_measured(group[0])]
    assert max(in_a_row) == most
    for group, later in pairwise(groups):
        if only_measured(group[0]) and len(group) == most:
            assert later[0].continues is not None


def test_after_a_few_networks_that_were_only_measured_even_a_slow_one_is_trained(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.samplers.freeze_thaw.MAX_READINGS", 2)
    slow = [decode(LARGE, encode(LARGE, SMALL) | {"block1_transition": number}) for number in (5, 20, 43)]
    search.searching.timed(lambda spec: 900.0 if spec in slow else params_of(spec) / 1000)
    search.propose(FIRST_TRIALS)
    read = [search.score(spec) for spec in slow]
    assert [only_measured(one) for one in read] == [True, True, False]
    assert read[2].rungs
    assert read[2].continues is None


# Seeds, processes and workers


def test_the_same_seed_makes_the_same_proposals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [
        fingerprints(Search(Searching(tmp_path / str(number), monkeypatch), seed).propose(9))
        for number, seed in enumerate((3, 3, 4))
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_new_process_with_the_same_storage_continues_the_search(searching: Searching, tmp_path: Path) -> None:
    def load() -> None:
        searching.study = optuna.create_study(
            study_name="tiny", storage=journal(tmp_path), directions=["minimize"] * 2, load_if_exists=True
        )

    load()
    before = Search(searching).propose(FIRST_TRIALS + 4)
    load()
    continued = Search(searching, seed=len(before))
    after = continued.propose(10)
    read = records.records(searching.study)
    assert [one.number for one in read] == list(range(len(before) + len(after)))
    started = [one.fingerprint for one in read if one.continues is None]
    assert len(started) == len(set(started))
    first = searching.study.trials[len(before)]
    assert first.user_attrs[records.PROPOSAL]["among"] == 40 + len({one.fingerprint for one in before})
    resumed = [one for one in after if one.continues is not None and one.continues < len(before)]
    assert resumed  # networks that the first process had stopped or measured
    assert {one.fingerprint for one in resumed} <= {one.fingerprint for one in before}


def ask_at_the_same_time(search: Search) -> list[str]:
    """The proposals of four workers, each with its own sampler and the same seed, before any is recorded."""
    proposed = []
    for _ in range(4):
        search.restart(seed=0)
        trial = search.searching.study.ask()
        proposed.append(decode(LARGE, trial.relative_params).fingerprint())
    return proposed


@pytest.mark.parametrize("trials", [0, 2])
def test_workers_that_propose_at_the_same_time_propose_different_networks(search: Search, trials: int) -> None:
    search.propose(trials)
    assert len(set(ask_at_the_same_time(search))) == 4


def test_workers_only_propose_the_same_network_to_resume_it(search: Search) -> None:
    """Of these, one resumes it, and the trials of the others are duplicates, see claims.py."""
    search.propose(FIRST_TRIALS + 3)
    proposed = ask_at_the_same_time(search)
    latest = latest_trials(search.searching.study)
    for name, times in Counter(proposed).items():
        assert times == 1 or resumable(latest[name], records.verdict(latest[name]))


def test_a_network_in_training_is_not_proposed(search: Search) -> None:
    search.propose(FIRST_TRIALS)
    study = search.searching.study
    proposed: list[str] = []
    for _ in range(3):
        trial = study.ask()
        spec = decode(LARGE, trial.relative_params)
        proposed.append(spec.fingerprint())
        record_network(trial, LARGE, spec)
        assert claim(trial, spec.fingerprint(), latest_trials(study).get(spec.fingerprint())) is None
        trial.set_user_attr(records.COSTS, {"params": params_of(spec)})
        trial.set_user_attr(records.LATENCY_MS, params_of(spec) / 1000)
    assert len(set(proposed)) == 3


def test_a_queued_network_is_not_replaced(search: Search) -> None:
    search.propose(3)
    search.searching.study.enqueue_trial(encode(LARGE, BIG))
    (one,) = search.propose(1)
    trial: FrozenTrial = search.searching.study.trials[-1]
    assert one.fingerprint == BIG.fingerprint()
    assert records.PROPOSAL not in trial.user_attrs
