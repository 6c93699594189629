"""Runs of a study, on each kind of storage: the order of trials, which ones count, and how runs end and resume."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.artifacts import FileSystemArtifactStore, download_artifact
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from search_tests.tiny import (
    FEW,
    LARGEST,
    SMALLEST,
    SPACE,
    StubMeasurement,
    StubTraining,
    failing,
    params_of,
    tiny_data,
    tiny_task,
)
from sqlalchemy import event

from search import records, volume
from search import run as module
from search.latency.protocol import ConnectionLost, MeasurementError
from search.named import carried
from search.objective import NoDisplay, StudyFolders
from search.records import Record
from search.run import OptunaCallback, Outcome, counted, counts, fail_abandoned, run
from search.samplers import distinct as samplers
from search.task import Task
from search.training.train import TrainingFailed
from space import Limits, encode
from threshnet.baselines import Architecture, LibraryModel
from threshnet.checkpoint import load_weights

NAMED = {"smallest": SMALLEST, "largest": LARGEST}
OUTSIDE = replace(SMALLEST, activation="relu6")
MODEL = LibraryModel("torchvision", "shufflenet_v2_x0_5", classes=2)


class Listening(NoDisplay):
    """A display that records the ended trials and the counts."""

    def __init__(self) -> None:
        self.ended: list[Record] = []
        self.counts: list[int] = []

    def counted(self, trials: int) -> None:
        self.counts.append(trials)

    def finished(self, record: Record) -> None:
        self.ended.append(record)


class Running:
    """A study in a file that each run reopens, as a new process would; `log` lists the calls of the stubs."""

    def __init__(self, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind, self.folder = kind, folder
        self.log: list[str] = []
        self.listening = Listening()
        self.measurement, self.training = StubMeasurement(self.log), StubTraining(self.log)
        monkeypatch.setattr("search.objective.measure_on", self.measurement)
        monkeypatch.setattr("search.objective.train", self.training)
        (folder / "weights").mkdir()
        (folder / "checkpoints").mkdir()
        self.weights = FileSystemArtifactStore(folder / "weights")
        self.opened: list[BaseStorage] = []

    def study(self) -> Study:
        """The study, as a process that has just started sees it."""
        storage: BaseStorage
        match self.kind:
            case "sqlite":
                storage = RDBStorage(f"sqlite:///{self.folder / 'study.db'}")
                # Syncing every commit to disk would take most of the time of these tests.
                event.listen(storage.engine, "connect", lambda sqlite, _: sqlite.execute("PRAGMA synchronous = OFF"))
                storage.engine.dispose()
            case _:
                storage = JournalStorage(JournalFileBackend(str(self.folder / "study.journal")))
        self.opened.append(storage)
        return optuna.create_study(
            study_name="tiny", storage=storage, directions=["minimize", "minimize"], load_if_exists=True
        )

    def close(self) -> None:
        """Close the files."""
        for storage in self.opened:
            storage.remove_session()
            if isinstance(storage, RDBStorage):
                storage.engine.dispose()

    def run(
        self,
        trials: int,
        task: Task | None = None,
        named: Mapping[str, Architecture] | None = None,
        timeout_s: float | None = None,
        sampler: str = "random",
        budget: float | None = None,
        until_plateau: bool = False,
        callbacks: Sequence[OptunaCallback] = (),
    ) -> Outcome:
        """Run the study as a new process would."""
        return run(
            self.study(),
            task or tiny_task(),
            tiny_data(),
            NAMED if named is None else named,
            sampler,
            StudyFolders(self.weights, self.folder / "checkpoints"),
            trials=trials,
            budget=budget,
            until_plateau=until_plateau,
            timeout_s=timeout_s,
            callbacks=callbacks,
            display=self.listening,
        )

    def records(self) -> list[Record]:
        """The records that another process reads."""
        return records.records(self.study())

    def trained(self) -> list[str]:
        """Fingerprints of the networks that were trained, in order."""
        return [entry.split()[1] for entry in self.log if entry.startswith("train")]


@pytest.fixture(params=["sqlite", "journal"])
def running(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    running = Running(request.param, tmp_path, monkeypatch)
    yield running
    running.close()


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def nth(n: int, error: BaseException) -> Callable[[Architecture], None]:
    """A function that raises `error` on its n-th call."""
    calls = 0

    def fail(_spec: Architecture) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            raise error

    return fail


def after_interruption(running: Running) -> None:
    """Run the interrupted study to its end, and check that the interrupted network was repeated."""
    interrupted = [r for r in running.records() if r.reason == records.INTERRUPTED]
    assert len(interrupted) == 1
    assert running.run(4) == Outcome(4, "enough")
    repeated = [r for r in running.records() if r.fingerprint == interrupted[0].fingerprint and r.trained]
    assert len(repeated) == 1
    assert repeated[0].named == interrupted[0].named


# The order of trials


def test_named_networks_are_measured_first_and_trained_in_turn_with_the_search(running: Running) -> None:
    assert running.run(12) == Outcome(12, "enough")
    read = running.records()
    assert [r.number for r in read] == list(range(len(read)))
    searched = [None] * 5
    assert [r.named for r in read] == ["smallest", "largest", *searched, "smallest", None, "largest", *[None] * 4]
    assert [r.network for r in read[:2]] == [r.network for r in read if r.trained and r.named] == [SMALLEST, LARGEST]
    assert [r.state for r in read] == ["not trained"] * 2 + ["finished"] * 12
    assert [r.continues for r in read if r.trained and r.named] == [0, 1]
    assert str(read[0].reason).startswith("measured, ")
    assert running.trained() == [r.fingerprint for r in read[2:]]
    assert len(set(running.trained())) == 12
    assert [entry.split()[1] for entry in running.log if entry.startswith("measure")][:2] == running.trained()[5:8:2]
    assert running.listening.ended == read
    assert running.listening.counts == [0, 0, 0, *range(1, 13)]


def test_a_short_study_trains_the_named_networks_at_its_end_and_not_more_than_the_search(running: Running) -> None:
    assert running.run(4) == Outcome(4, "enough")
    assert [r.named for r in running.records() if r.trained] == [None, None, "smallest", "largest"]


def test_named_networks_take_at_most_half_of_a_study(running: Running) -> None:
    assert running.run(3) == Outcome(3, "enough")
    assert [r.named for r in running.records() if r.trained] == [None, None, "smallest"]
    assert running.run(4) == Outcome(4, "enough")  # a larger study trains the other one
    assert [r.named for r in running.records() if r.trained] == [None, None, "smallest", "largest"]


@pytest.mark.parametrize("network", [OUTSIDE, MODEL], ids=["outside the space", "of a library"])
def test_a_named_network_outside_the_space_is_trained_and_no_sampler_sees_it(
    running: Running, network: Architecture
) -> None:
    for sampler in ("random", "tpe", "gp", "nsga2", "freeze_thaw"):
        trials = counted(running.study()) + (13 if sampler == "random" else 2)  # most draw at random before 10 trials
        assert running.run(trials, named={"other": network}, sampler=sampler) == Outcome(trials, "enough")
    trained = [r for r in running.records() if r.trained and r.named]
    assert [r.architecture for r in trained] == [network]
    assert trained[0].weights is not None
    assert running.study().trials[0].params == {}


def test_two_workers_do_not_train_a_named_network_twice(running: Running) -> None:
    assert running.run(3) == Outcome(3, "enough")
    study = running.study()
    (measured,) = [
        t for t in study.trials if records.MEASURES in t.user_attrs and t.user_attrs[records.NAMED] == "largest"
    ]
    for _ in range(2):  # both read the study before either of them queued the training
        study.enqueue_trial(measured.params, user_attrs=carried(measured, records.NAMED))
    assert running.run(6) == Outcome(6, "enough")
    states = [r.state for r in running.records() if r.named == "largest"]
    assert sorted(states) == ["duplicate", "finished", "not trained"]


def test_a_network_that_is_named_after_the_search_found_it_gets_its_name(running: Running) -> None:
    assert running.run(3, named={}) == Outcome(3, "enough")
    first = running.records()[0]
    assert first.network is not None
    assert running.run(5, named={"mine": first.network}) == Outcome(5, "enough")
    assert [r.named for r in running.records() if r.trained] == ["mine", None, None, None, None]


def test_a_named_network_is_trained_though_infeasible_and_a_proposal_is_not(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "INFEASIBLE_REDRAWS", 0)  # so that infeasible networks are proposed
    limit = (params_of(SMALLEST) + params_of(LARGEST)) / 2
    running.run(6, tiny_task(Limits(params=limit)))
    read = running.records()
    named = [r for r in read if r.named]
    assert [r.state for r in named] == ["not trained", "not trained", "finished", "infeasible"]
    states = [r.state for r in read if not r.named]
    assert set(states) == {"finished", "not trained"}
    assert states.count("finished") == 4  # pruned trials do not count
    for r in read:
        if r.named:
            continue
        assert r.network is not None
        over = params_of(r.network) / limit - 1
        assert (r.state == "not trained") == (over > 0) == (r.fingerprint not in running.trained())
        assert r.constraints["params"] == pytest.approx(over)
        if over > 0:
            assert r.reason == f"violates the constraint on params by {100 * over:.0f} %"


def test_weights_are_stored_and_load_to_their_network(running: Running) -> None:
    running.run(3)
    for r in running.records():
        if not r.trained:
            continue
        assert r.weights is not None
        file = running.folder / "model.safetensors"
        download_artifact(artifact_store=running.weights, artifact_id=r.weights, file_path=str(file))
        assert load_weights(file).spec == r.network
        file.unlink()
    # Weights and latency samples of three networks. A trial of its own measured one of them.
    assert len(list((running.folder / "weights").iterdir())) == 7


def test_duplicates_have_the_earlier_values_and_do_not_count(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "DUPLICATE_REDRAWS", 0)
    assert running.run(6, tiny_task(space=FEW), named={}) == Outcome(6, "enough")  # the whole space
    read = running.records()
    twice = [r for r in read if r.state == "duplicate"]
    assert len(read) - len(twice) == len(running.trained()) == 6
    assert twice
    for r in twice:
        assert r.duplicate_of is not None
        first = read[r.duplicate_of]
        assert (r.error, r.latency_ms, r.fingerprint) == (first.error, first.latency_ms, first.fingerprint)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_every_fast_sampler_runs_a_study(running: Running, sampler: str) -> None:
    assert running.run(16, sampler=sampler) == Outcome(16, "enough")


# Failures


def test_a_failure_fails_its_trial_which_counts_and_the_study_continues(running: Running) -> None:
    running.measurement.fail = nth(1, MeasurementError("the probe died"))
    running.training.fail = nth(2, TrainingFailed("diverged"))
    assert running.run(5) == Outcome(5, "enough")
    read = running.records()
    assert [(r.named, r.state, r.reason) for r in read if r.state != "not trained"] == [
        ("smallest", "failed", "the probe died"),
        (None, "finished", None),
        (None, "failed", "diverged"),
        (None, "finished", None),
        ("largest", "finished", None),
    ]
    assert running.run(6).trials == 6
    assert [r.fingerprint for r in running.records()].count(read[0].fingerprint) == 1  # failures are not repeated


def test_a_network_whose_device_was_lost_is_measured_again(running: Running) -> None:
    running.measurement.fail = nth(1, ConnectionLost("the cable"))
    assert running.run(4) == Outcome(4, "enough")
    read = running.records()
    assert (read[0].state, read[0].named, read[0].reason) == ("interrupted", "smallest", "unreachable: the cable")
    assert [r.named for r in read if r.trained].count("smallest") == 1
    assert [r.state for r in read if r.named == "smallest"] == ["interrupted", "not trained", "finished"]


def test_a_run_ends_if_the_device_is_gone_and_loses_nothing(running: Running) -> None:
    running.measurement.fail = failing(ConnectionLost("the cable"))
    for _ in range(2):
        assert running.run(4) == Outcome(0, "unreachable")
    running.measurement.fail = lambda spec: None
    assert running.run(4) == Outcome(4, "enough")
    assert sorted(r.named or "" for r in running.records() if r.trained) == ["", "", "largest", "smallest"]


def test_a_programming_error_is_not_swallowed(running: Running) -> None:
    running.training.fail = nth(2, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        running.run(5)
    assert [r.state for r in running.records()] == ["not trained"] * 2 + ["finished", "interrupted"]


def test_a_run_gives_up_if_no_network_can_be_trained(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REJECTED", 4)
    monkeypatch.setattr(samplers, "INFEASIBLE_REDRAWS", 3)
    assert running.run(5, tiny_task(Limits(params=1))) == Outcome(0, "fruitless")
    assert [r.state for r in running.records()] == ["not trained"] * 6


# Ending and resuming


def test_a_resumed_study_continues_to_the_new_total(running: Running) -> None:
    assert running.run(3) == Outcome(3, "enough")
    assert running.run(6) == Outcome(6, "enough")
    read = running.records()
    assert len(running.trained()) == len(set(running.trained())) == 6
    assert [r.named for r in read if r.trained].count("smallest") == 1


def test_a_complete_study_does_no_work(running: Running) -> None:
    running.run(4)
    running.log.clear()
    running.listening.ended.clear()
    assert running.run(4) == running.run(3) == Outcome(4, "enough")
    assert (running.log, running.listening.ended) == ([], [])
    assert [r.state for r in running.records()] == ["not trained"] * 2 + ["finished"] * 4


def test_a_run_ends_at_its_budget_and_a_larger_budget_continues_it(running: Running) -> None:
    assert running.run(6, budget=2.5) == Outcome(3, "spent")  # the training that exceeds the budget is finished
    assert running.run(6, budget=3.0) == Outcome(3, "spent")
    assert running.run(6, budget=3.1) == Outcome(4, "spent")
    assert running.run(6, budget=99.0) == Outcome(6, "enough")
    assert len(running.trained()) == 6


def test_with_until_plateau_a_run_ends_once_the_front_has_plateaued(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "PLATEAU_TRAININGS", 2)
    monkeypatch.setattr(volume, "PLATEAU_GROWTH", 1000.0)  # percent: any growth counts as none
    ended = running.run(12, until_plateau=True)
    # Four is the first number of which two end in the last third of the cost. Then the named networks are trained, and
    # two of seven end in the last third.
    assert ended == Outcome(7, "plateau")
    assert running.run(12, until_plateau=True) == ended
    assert running.run(8) == Outcome(8, "enough")


def test_a_callback_sees_every_trial_and_can_stop_the_study(running: Running) -> None:
    seen: list[int] = []

    def stop_after_two(study: Study, trial: FrozenTrial) -> None:
        seen.append(trial.number)
        if len(seen) == 2:
            study.stop()

    assert running.run(5, callbacks=[stop_after_two], named={}, timeout_s=600.0) == Outcome(2, "stopped")
    assert seen == [0, 1]
    assert running.run(3, named={}) == Outcome(3, "enough")


def test_a_study_that_timed_out_can_be_resumed(running: Running) -> None:
    assert running.run(5, timeout_s=0.0) == Outcome(0, "timeout")
    assert running.trained() == []
    running.training.fail = lambda spec: time.sleep(2.0)
    assert running.run(5, timeout_s=1.5) == Outcome(1, "timeout")  # the network in training is finished
    running.training.fail = lambda spec: None
    assert running.run(5) == Outcome(5, "enough")
    assert [r.named for r in running.records() if r.trained] == [None, None, None, "smallest", "largest"]


@pytest.mark.parametrize("n", [1, 2, 3], ids=["first", "second", "third"])
@pytest.mark.parametrize("where", ["measurement", "training"])
def test_an_interrupted_network_is_repeated_by_the_next_run(running: Running, n: int, where: str) -> None:
    stub = getattr(running, where)
    stub.fail = nth(n, KeyboardInterrupt())
    assert running.run(4) == Outcome(n - 1 if where == "training" else 0, "interrupted")
    (last,) = [r for r in running.records() if r.reason == records.INTERRUPTED]
    assert last.state == "interrupted"
    assert last.network is not None
    stub.fail = lambda spec: None
    after_interruption(running)
    assert running.run(4) == Outcome(4, "enough")
    assert sum(r.state == "waiting" for r in running.records()) == 0


def test_a_network_interrupted_twice_is_repeated_again(running: Running) -> None:
    for _ in range(2):
        running.training.fail = failing(KeyboardInterrupt())
        assert running.run(4) == Outcome(0, "interrupted")
    running.training.fail = lambda spec: None
    assert running.run(4) == Outcome(4, "enough")
    assert sorted(r.named or "" for r in running.records() if r.trained) == ["", "", "largest", "smallest"]


def test_a_network_that_crashes_the_program_is_given_up_after_its_retries(running: Running) -> None:
    def crash(spec: Architecture) -> None:
        if spec == LARGEST:
            raise ZeroDivisionError("a bug")

    running.training.fail = crash
    for _ in range(1 + module.MAX_RETRIES):
        with pytest.raises(ZeroDivisionError):
            running.run(4)
    assert running.run(4) == Outcome(4, "enough")
    _, *lost = [r for r in running.records() if r.named == "largest"]  # the first one is the measurement
    assert [r.reason for r in lost] == ["lost: ZeroDivisionError: a bug"] * (1 + module.MAX_RETRIES)


def test_the_trial_of_a_dead_process_is_failed_and_repeated(running: Running, gone: int) -> None:
    study = running.study()
    study.enqueue_trial(encode(SPACE, LARGEST), user_attrs={records.NAMED: "largest"})
    trial = study.ask()
    for name, d in SPACE.distributions().items():
        trial.suggest_int(name, d.low, d.high)
    trial.set_user_attr(records.FINGERPRINT, LARGEST.fingerprint())
    trial.set_user_attr(records.WORKER, {"host": socket.gethostname(), "pid": gone})
    assert running.run(4) == Outcome(4, "enough")
    read = running.records()
    assert (read[0].state, read[0].reason) == ("interrupted", "lost: its process is gone")
    assert sorted(r.named or "" for r in read if r.trained) == ["", "", "largest", "smallest"]
    again = next(t for t in running.study().trials if records.RETRY_OF in t.user_attrs)
    assert (again.user_attrs[records.RETRY_OF], again.user_attrs[records.NAMED]) == (0, "largest")


def test_two_workers_may_find_the_same_dead_trial(running: Running, gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    study = running.study()
    study.ask().set_user_attr(records.WORKER, {"host": socket.gethostname(), "pid": gone})
    found = study.get_trials(deepcopy=True)
    fail_abandoned(running.study())
    monkeypatch.setattr(study, "get_trials", lambda **_: found)  # read before the faster worker acted
    fail_abandoned(study)
    assert [r.state for r in running.records()] == ["interrupted"]


@pytest.mark.parametrize("queued", [True, False])
def test_a_process_that_died_while_proposing(running: Running, gone: int, queued: bool) -> None:
    """Only the first parameter was stored: a queued network is repeated in full, an unknown one is dropped."""
    study = running.study()
    if queued:
        study.enqueue_trial(encode(SPACE, LARGEST), user_attrs={records.NAMED: "largest"})
    trial = study.ask()
    name, distribution = next(iter(SPACE.distributions().items()))
    trial.suggest_int(name, distribution.low, distribution.high)
    trial.set_user_attr(records.WORKER, {"host": socket.gethostname(), "pid": gone})
    assert running.run(4) == Outcome(4, "enough")
    assert {r.named: r.network for r in running.records() if r.trained and r.named} == NAMED
    assert len([t for t in running.study().trials if records.RETRY_OF in t.user_attrs]) == int(queued)


@pytest.mark.parametrize("other_host", [False, True])
def test_the_trial_of_a_living_or_remote_process_is_not_touched(running: Running, gone: int, other_host: bool) -> None:
    worker = {"host": "elsewhere", "pid": gone} if other_host else {"host": socket.gethostname(), "pid": os.getppid()}
    study = running.study()
    study.enqueue_trial(encode(SPACE, SMALLEST), user_attrs={records.NAMED: "smallest"})
    study.ask().set_user_attr(records.WORKER, worker)
    assert running.run(3) == Outcome(2, "enough")  # the third network is the one in training
    read = running.records()
    assert [r.state for r in read] == ["running", "not trained", "finished", "finished"]
    assert "smallest" not in [r.named for r in read[1:]]


def test_only_trained_and_failed_trials_count(running: Running) -> None:
    study = running.study()
    cases: list[tuple[TrialState, dict[str, Any], bool]] = [
        (TrialState.COMPLETE, {}, True),
        (TrialState.FAIL, {}, True),
        (TrialState.FAIL, {records.REASON: "diverged"}, True),
        (TrialState.FAIL, {records.REASON: records.INTERRUPTED}, False),
        (TrialState.COMPLETE, {records.DUPLICATE_OF: 0}, False),
        (TrialState.PRUNED, {records.REASON: "violates the constraint on params by 12 %"}, False),
        (TrialState.PRUNED, {records.DUPLICATE_OF: 5}, False),
        (TrialState.PRUNED, {records.RUNGS: {"1": 50.0}}, True),
        (TrialState.RUNNING, {}, False),
        (TrialState.WAITING, {}, False),
    ]
    for state, attrs, _ in cases:
        values = (1.0, 2.0) if state is TrialState.COMPLETE else None
        study.add_trial(optuna.create_trial(state=state, values=values, user_attrs=attrs))
    assert [counts(trial) for trial in study.trials] == [expected for _, _, expected in cases]
    assert counted(study) == 4
    resumed = {records.RUNGS: {"1": 50.0, "2": 40.0}, records.CONTINUES: 7}
    study.add_trial(optuna.create_trial(state=TrialState.PRUNED, user_attrs=resumed))
    assert counted(study) == 4  # the same network
    fail_abandoned(study)  # a running trial without a worker is not touched
    assert study.trials[8].state is TrialState.RUNNING


# End to end


def test_a_search_without_stubs(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "checkpoints").mkdir()
    study = optuna.create_study(directions=["minimize", "minimize"])
    outcome = run(
        study,
        tiny_task(Limits(params=10_000), runtimes=("onnxruntime", "torch")),
        tiny_data(),
        {"smallest": SMALLEST},
        "tpe",
        StudyFolders(FileSystemArtifactStore(tmp_path / "weights"), tmp_path / "checkpoints"),
        trials=2,
    )
    assert outcome == Outcome(2, "enough")
    measured, found, named = records.records(study)
    assert (measured.state, measured.latency) == ("not trained", named.latency)
    assert (named.named, named.network, found.named) == ("smallest", SMALLEST, None)
    for r in (named, found):
        assert r.state == "finished"
        assert r.error is not None
        assert 0 <= r.error <= 100
        assert r.latency_ms == r.latency["cpu onnxruntime"].latency_ms > 0
        assert r.latency["cpu torch"].input_size == 16
        assert [epoch["number"] for epoch in r.epochs] == [1, 2]
        assert r.image_passes == 80
    assert len(list((tmp_path / "weights").iterdir())) == 6  # the weights, and the latency samples of both runtimes
    assert list((tmp_path / "checkpoints").iterdir()) == []
