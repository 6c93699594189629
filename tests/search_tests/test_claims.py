"""Claims, on each kind of storage: of all trials of a network exactly one trains it, however their steps interleave."""

import time
from collections.abc import Iterator, Sequence
from itertools import permutations
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Semaphore, Thread

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna import Study, Trial
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from search_tests.workers import work_together
from sqlalchemy import event

from search import claims
from search.claims import claim, latest_trials, scores, stopped
from search.records import CONTINUES, DUPLICATE_OF, FINGERPRINT, INTERRUPTED, LOST, OWNER, REASON, RUNGS

KINDS = ("memory", "sqlite", "journal")
WORKERS = 4
NETWORKS = 6


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not pause between two checks of a rival, and print nothing."""
    monkeypatch.setattr(claims, "POLL_S", 0.0)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_study(kind: str, folder: Path, *, hasty: bool = False) -> Study:
    """The study in a folder, created if missing; with `hasty`, writes are not synced to disk."""
    storage: BaseStorage
    match kind:
        case "memory":
            storage = InMemoryStorage()
        case "sqlite":
            storage = RDBStorage(f"sqlite:///{folder / 'study.db'}")
            if hasty:
                event.listen(storage.engine, "connect", lambda sqlite, _: sqlite.execute("PRAGMA synchronous = OFF"))
                storage.engine.dispose()
        case _:
            storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.create_study(
        study_name="claims", storage=storage, directions=["minimize", "minimize"], load_if_exists=True
    )


def close(study: Study) -> None:
    """Close the study's files."""
    storage = study._storage
    backend = getattr(storage, "_backend", storage)
    storage.remove_session()
    if isinstance(backend, RDBStorage):
        backend.engine.dispose()


@pytest.fixture(params=KINDS)
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Study]:
    study = open_study(request.param, tmp_path, hasty=True)
    yield study
    close(study)


class Stepped:
    """A trial in its own thread that makes its claim one storage call per `step`."""

    def __init__(self, trial: Trial, network: str, continues: FrozenTrial | None = None) -> None:
        self.trial, self.study, self.number = trial, self, trial.number
        self.ready, self.go = Semaphore(0), Semaphore(0)
        self.ended = False
        self.rival: FrozenTrial | None = None
        self.thread = Thread(target=self._claim, args=(network, continues), daemon=True)
        self.thread.start()
        assert self.ready.acquire(timeout=30)

    def step(self) -> None:
        """Make the next call, if there is one."""
        if not self.ended:
            self.go.release()
            assert self.ready.acquire(timeout=30)

    def set_user_attr(self, key: str, value: object) -> None:
        self._wait()
        self.trial.set_user_attr(key, value)

    def get_trials(self, deepcopy: bool) -> list[FrozenTrial]:
        self._wait()
        return self.trial.study.get_trials(deepcopy=deepcopy)

    @property
    def user_attrs(self) -> dict[str, object]:
        return self.trial.user_attrs

    def _wait(self) -> None:
        self.ready.release()
        assert self.go.acquire(timeout=30)

    def _claim(self, network: str, continues: FrozenTrial | None) -> None:
        self.rival = claim(self, network, continues)  # type: ignore[arg-type]
        if self.rival is not None:
            self.set_user_attr(DUPLICATE_OF, self.rival.number)  # as the objective does
        self.ended = True
        self.ready.release()


def play(steps: Sequence[Stepped], schedule: Sequence[int]) -> list[bool]:
    """Step the trials in this order, then in rotation until all have ended; return for each if it owns the claim."""
    for place in schedule:
        steps[place % len(steps)].step()
    for _ in range(50):
        for each in steps:
            each.step()
    assert all(each.ended for each in steps)
    for each in steps:
        each.thread.join()
    return [each.rival is None for each in steps]


def owners(study: Study) -> list[tuple[str, int | None]]:
    """The successful claims: network, and number of the continued trial."""
    return [
        (trial.user_attrs[FINGERPRINT], trial.user_attrs.get(CONTINUES))
        for trial in study.get_trials(deepcopy=False)
        if OWNER in trial.user_attrs
    ]


# Two trials


def test_a_claim_without_rivals_succeeds(study: Study) -> None:
    trial = study.ask()
    assert claim(trial, "net", None) is None
    assert owners(study) == [("net", None)]


def test_one_of_two_gets_the_network_for_every_interleaving(study: Study) -> None:
    """A claim is a write, a read, a write and another read."""
    found = set()
    orders = sorted(set(permutations([0, 0, 0, 0, 1, 1, 1, 1])))
    for number, schedule in enumerate(orders):
        trials = [study.ask(), study.ask()]
        have = play([Stepped(trial, f"net {number}") for trial in trials], schedule)
        assert sum(have) == 1, schedule
        loser = study.trials[trials[have.index(False)].number]
        assert loser.user_attrs[DUPLICATE_OF] == trials[have.index(True)].number
        found.add(have.index(True))
    assert found == {0, 1}  # either trial may win
    claimed = owners(study)
    assert len(claimed) == len(set(claimed)) == len(orders)


def test_one_of_two_resumes_a_stopped_training_for_every_interleaving() -> None:
    """Such a claim has one more write."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    for number, schedule in enumerate(sorted(set(permutations([0, 0, 0, 0, 1, 1, 1, 1])))):
        first = stop(study, f"net {number}", {"1": 50.0})
        trials = [study.ask(), study.ask()]
        assert sum(play([Stepped(trial, f"net {number}", first) for trial in trials], schedule)) == 1, schedule


@settings(max_examples=60, deadline=None)
@given(
    schedule=st.lists(st.integers(0, 3), max_size=30),
    networks=st.lists(st.sampled_from(["net", "another"]), min_size=4, max_size=4),
)
def test_of_several_trials_one_gets_each_network(schedule: list[int], networks: list[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize", "minimize"])
    trials = [study.ask() for _ in networks]
    play([Stepped(trial, network) for trial, network in zip(trials, networks, strict=True)], schedule)
    assert sorted(owners(study), key=str) == sorted({(network, None) for network in networks}, key=str)


def stop(study: Study, network: str, rungs: dict[str, float], continues: FrozenTrial | None = None) -> FrozenTrial:
    """A trial that claimed a network and was stopped after those rungs."""
    trial = study.ask()
    assert claim(trial, network, continues) is None
    trial.set_user_attr(RUNGS, rungs)
    return study.tell(trial, state=TrialState.PRUNED)


def test_a_continuation_is_a_claim_of_its_own(study: Study) -> None:
    first = stop(study, "net", {"1": 50.0})
    second = stop(study, "net", {"1": 50.0, "2": 40.0}, first)
    assert claim(study.ask(), "net", second) is None
    for continues, holder in ((None, 0), (first, 1), (second, 2)):
        late = study.ask()
        rival = claim(late, "net", continues)
        assert rival is not None
        assert rival.number == holder
        late.set_user_attr(DUPLICATE_OF, rival.number)
    assert scores(study, "net") == {"1": 50.0, "2": 40.0}


@pytest.mark.parametrize("reason", [INTERRUPTED, f"{LOST}: its process is gone"])
def test_an_interrupted_trial_has_no_claim(study: Study, reason: str) -> None:
    before = study.ask()
    assert claim(before, "net", None) is None
    before.set_user_attr(REASON, reason)
    study.tell(before, state=TrialState.FAIL)
    assert latest_trials(study) == {}
    assert claim(study.ask(), "net", None) is None


def test_a_failed_trial_keeps_its_claim(study: Study) -> None:
    before = study.ask()
    assert claim(before, "net", None) is None
    before.set_user_attr(REASON, "diverged")
    study.tell(before, state=TrialState.FAIL)
    rival = claim(study.ask(), "net", None)
    assert rival is not None
    assert rival.number == 0


def test_a_rival_that_died_before_its_check_does_not_block_forever(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, dead = study.ask(), study.ask()
    dead.set_user_attr(FINGERPRINT, "net")
    slept: list[float] = []
    monkeypatch.setattr(claims, "RIVAL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(time, "sleep", slept.append)
    assert claim(first, "net", None) is None
    assert slept  # the rival was waited for
    assert first.user_attrs[OWNER] is True
    assert latest_trials(study)["net"].number == first.number


def test_a_trial_that_pauses_after_its_check_yields_to_the_new_owner(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For instance, its machine was suspended, and another trial took the network in the meantime."""
    monkeypatch.setattr(claims, "RIVAL_TIMEOUT_S", 0.05)
    early, late = study.ask(), study.ask()
    silent = Stepped(late, "net")
    for _ in range(2):  # it writes its claim, and sees no rival
        silent.step()
    assert claim(early, "net", None) is None
    while not silent.ended:
        silent.step()
    assert silent.rival is not None
    assert silent.rival.number == early.number


# The latest trial of a network


@pytest.mark.parametrize("numbers", list(permutations(range(4))))
def test_the_latest_trial_is_the_last_of_its_chain_whatever_the_numbers(numbers: tuple[int, ...]) -> None:
    """A trial is numbered before it decides what to continue, so numbers in a chain may go up and down."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    trials = [study.ask() for _ in numbers]
    before: FrozenTrial | None = None
    for number in numbers:
        assert claim(trials[number], "net", before) is None
        assert latest_trials(study)["net"].number == number
        trials[number].set_user_attr(RUNGS, {"1": 50.0})
        before = study.tell(number, state=TrialState.PRUNED)
        assert latest_trials(study)["net"].number == number
        assert stopped(latest_trials(study)["net"])


@pytest.mark.parametrize("continued", [False, True])
def test_the_owner_is_the_latest_trial_though_an_earlier_one_has_not_yielded_yet(study: Study, continued: bool) -> None:
    """The earlier trial may have checked last, and may have died since."""
    before = stop(study, "net", {"1": 50.0}) if continued else None
    slow, owner = study.ask(), study.ask()
    assert claim(owner, "net", before) is None
    if before is not None:
        slow.set_user_attr(CONTINUES, before.number)
    slow.set_user_attr(FINGERPRINT, "net")
    assert latest_trials(study)["net"].number == owner.number


def test_duplicates_and_trials_without_a_network_are_never_the_latest(study: Study) -> None:
    study.ask()
    assert claim(study.ask(), "net", None) is None
    late = study.ask()
    late.set_user_attr(FINGERPRINT, "net")
    late.set_user_attr(DUPLICATE_OF, 1)
    assert {name: trial.number for name, trial in latest_trials(study).items()} == {"net": 1}


def test_a_trial_is_stopped_if_it_was_pruned_at_a_rung() -> None:
    cases: list[tuple[dict[str, object], bool]] = [
        ({"state": TrialState.PRUNED, "user_attrs": {RUNGS: {"1": 50.0}}}, True),
        ({"state": TrialState.PRUNED}, False),  # pruned before training
        ({"state": TrialState.RUNNING, "user_attrs": {RUNGS: {"1": 50.0}}}, False),
        ({"state": TrialState.COMPLETE, "values": [1.0, 2.0], "user_attrs": {RUNGS: {"4": 50.0}}}, False),
    ]
    assert [stopped(optuna.create_trial(**case)) for case, _ in cases] == [expected for _, expected in cases]  # type: ignore[arg-type]


# Several processes


def work(kind: str, folder: Path, together: Barrier) -> None:
    """Propose every network at the same time as the other workers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = open_study(kind, folder)
    for number in range(NETWORKS):
        together.wait(120)
        trial = study.ask()
        rival = claim(trial, f"net {number}", None)
        if rival is None:
            study.tell(trial, (1.0, 1.0))
        else:
            trial.set_user_attr(DUPLICATE_OF, rival.number)
            study.tell(trial, state=TrialState.PRUNED)
    close(study)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_processes_that_propose_the_same_networks_claim_each_once(kind: str, tmp_path: Path) -> None:
    study = open_study(kind, tmp_path)
    work_together(work, WORKERS, lambda _, together: (kind, tmp_path, together))
    trials = study.trials
    assert len(trials) == WORKERS * NETWORKS
    assert all(trial.state.is_finished() for trial in trials)
    assert sorted(owners(study)) == [(f"net {number}", None) for number in range(NETWORKS)]
    assert sum(DUPLICATE_OF in trial.user_attrs for trial in trials) == (WORKERS - 1) * NETWORKS
    close(study)
