"""Trainings that stop at rungs and resume: bit for bit, only once, and only for networks that may join the front."""

import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
import torch
from optuna import Study
from optuna.artifacts import FileSystemArtifactStore
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, TrialState
from search_tests.searching import EPOCH, RUNGS, Searching, journal
from search_tests.tiny import (
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
from search_tests.workers import work_together

from search import objective, records
from search import run as module
from search.objective import NoDisplay, StudyFolders, scorer
from search.records import Record, record
from search.run import Outcome, run
from search.samplers import distinct as samplers
from search.samplers import pool, surrogate
from search.samplers.named import sampler_for
from search.samplers.sampler import Decision
from search.task import Task
from search.training.train import TrainingFailed, train
from space import Limits, decode
from studies.fronts.front import front_of
from studies.spec import StudySpec
from studies.study import LoadedStudy
from threshnet.spec import NetworkSpec

# 6 schedules x 12 growths x 12 transitions = 864 networks; CROWDED is so small that processes soon propose the same.
LARGE = replace(SPACE, name="large", growths=tuple(range(2, 14)), transitions=tuple(range(4, 16)))
CROWDED = replace(SPACE, name="crowded", growths=(2, 4), transitions=(4, 8))  # 24 networks
WITH_DROPOUT = replace(SPACE, name="dropping", block_dropouts=(0.3,), head_dropouts=(0.3,))
WORKERS = 4
PROPOSALS = 200


class Until:
    """A policy that stops every training at some rungs and, unless `reach`, prunes every network before training."""

    def __init__(self, *stops: int, reach: bool = True) -> None:
        self.stops, self.reach = stops, reach

    def decide(self, study: Study, fingerprint: str) -> Decision:
        return "train" if self.reach else "never"

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        reached = max(int(epochs) for epochs in study.trials[-1].user_attrs[records.RUNGS])
        return reached not in self.stops


@pytest.fixture
def searching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searching:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return Searching(tmp_path / "first", monkeypatch)


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searching:
    return Searching(tmp_path / "second", monkeypatch)


def losses(one: Record) -> list[float]:
    return [epoch["loss"] for epoch in one.epochs]


def assert_equal(searching: Searching, one: Record, another: Searching, other: Record) -> None:
    """Check that two trials have the same results, bit for bit."""
    assert (one.state, one.error, one.rungs, losses(one)) == (other.state, other.error, other.rungs, losses(other))
    mine, others = searching.weights(one), another.weights(other)
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[key], others[key]) for key in mine)


# Without a stub for training


def dropping() -> tuple[Task, NetworkSpec]:
    """A task whose trainings use every source of random numbers, and its largest network."""
    spec = replace(LARGEST, block_dropout=0.3, head_dropout=0.3)
    return tiny_task(space=WITH_DROPOUT, rungs=RUNGS), spec


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, searching: Searching, another: Searching) -> tuple[Searching, Searching]:
    """Two studies that really train their networks."""
    monkeypatch.setattr("search.objective.train", train)
    return searching, another


@pytest.mark.parametrize("stops", [(1,), (2,), (1, 2)])
def test_a_resumed_training_equals_one_that_was_never_stopped(
    trained: tuple[Searching, Searching], stops: tuple[int, ...]
) -> None:
    whole, parts = trained
    task, spec = dropping()
    uninterrupted = whole.score(spec, task, Until())
    assert uninterrupted.state == "finished"
    assert list(uninterrupted.rungs) == list(RUNGS)
    for rung in stops:
        stopped = parts.score(spec, task, Until(rung))
        assert stopped.state == "stopped"
        assert stopped.rungs == {at: error for at, error in uninterrupted.rungs.items() if at <= rung}
        assert losses(stopped) == losses(uninterrupted)[:rung]
        assert [file.stem for file in parts.folders.checkpoints.iterdir()] == [spec.fingerprint()]
    resumed = parts.score(spec, task, Until())
    assert_equal(whole, uninterrupted, parts, resumed)
    assert resumed.continues == len(stops) - 1
    assert sum(one.image_passes for one in records.records(parts.study)) == uninterrupted.image_passes == 4 * EPOCH
    assert list(parts.folders.checkpoints.iterdir()) == []


class Interrupting(NoDisplay):
    """A display that raises KeyboardInterrupt after a number of steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, done: int, total: int) -> None:
        if done == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("step", "left", "stopped_before"),  # five steps an epoch; a stopped training has done those of its first epoch
    [(3, 4, False), (8, 3, False), (8, 3, True), (13, 2, False), (13, 2, True), (18, 2, False), (18, 2, True)],
)
def test_an_interrupted_training_resumes_from_its_last_rung(
    trained: tuple[Searching, Searching], step: int, left: int, stopped_before: bool
) -> None:
    whole, parts = trained
    task, spec = dropping()
    uninterrupted = whole.score(spec, task, Until())
    if stopped_before:
        parts.score(spec, task, Until(1))
    with pytest.raises(KeyboardInterrupt):
        parts.score(spec, task, Until(), display=Interrupting(step))
    interrupted = record(parts.study.trials[-1])
    assert interrupted.state == "interrupted"
    assert interrupted.image_passes == EPOCH // 5 * (step - 5 * stopped_before)  # its cost counts
    resumed = parts.score(spec, task, Until())
    assert_equal(whole, uninterrupted, parts, resumed)
    assert resumed.image_passes == left * EPOCH
    assert resumed.continues == (0 if stopped_before else None)


def test_a_checkpoint_of_another_seed_is_not_resumed(trained: tuple[Searching, Searching]) -> None:
    searching, _ = trained
    task, spec = dropping()
    searching.score(spec, task, Until(1))
    with pytest.raises(Exception, match="belongs to a training with another seed"):
        searching.score(spec, replace(task, seed=1), Until())
    assert record(searching.study.trials[-1]).state == "interrupted"
    assert searching.score(spec, task, Until()).state == "finished"


# Records


def test_a_stopped_trial_has_no_values_and_is_not_on_the_front(searching: Searching) -> None:
    task = tiny_task(rungs=RUNGS)
    searching.score(SMALLEST, task, Until())
    stopped = searching.score(LARGEST, task, Until(2))
    trial = searching.study.trials[1]
    assert (stopped.state, stopped.trained, stopped.error, trial.values) == ("stopped", False, None, None)
    assert trial.state is TrialState.PRUNED
    assert stopped.reason == f"stopped after 2 of 4 epochs at {2e5 / params_of(LARGEST):.2f} %"
    assert stopped.rungs == {1: 4e5 / params_of(LARGEST), 2: 2e5 / params_of(LARGEST)}
    assert (stopped.image_passes, stopped.weights) == (2 * EPOCH, None)
    assert trial.user_attrs[records.LATENCY_MS] == params_of(LARGEST) / 1000
    assert [trial.number for trial in searching.study.best_trials] == [0]
    front = front_of(loaded(searching.study))
    assert [each.number for each in front.trained] == [each.number for each in front.front] == [0]

    resumed = searching.score(LARGEST, task, Until())
    assert searching.done() == ["train"]  # it was measured before
    assert (resumed.state, resumed.continues, resumed.image_passes) == ("finished", 1, 2 * EPOCH)
    assert (resumed.latency_ms, resumed.latency) == (params_of(LARGEST) / 1000, stopped.latency)
    assert resumed.rungs == {**stopped.rungs, 4: 1e5 / params_of(LARGEST)}
    assert len(resumed.epochs) == 4
    assert {trial.number for trial in searching.study.best_trials} == {0, 2}
    assert {each.number for each in front_of(loaded(searching.study)).front} == {0, 2}


def loaded(study: Study) -> LoadedStudy:
    """The study as reports load it."""
    return LoadedStudy(
        study=study,
        spec=StudySpec(name="rungs", trials=3, about="", caveat=""),
        records=records.records(study),
        classes=("dark", "bright"),
        images={"train": EPOCH, "validation": 20, "hash": "0"},
        environments=[],
        weights=Path("weights"),
    )


def test_a_resumed_training_that_fails_is_not_tried_again(searching: Searching) -> None:
    task = tiny_task(rungs=RUNGS)
    searching.score(LARGEST, task, Until(1))
    searching.training.fail = failing(TrainingFailed("diverged"))
    assert searching.score(LARGEST, task, Until()).state == "failed"
    searching.training.fail = lambda spec: None
    again = searching.score(LARGEST, task, Until())
    assert (again.state, again.duplicate_of, searching.log) == ("duplicate", 1, [])


def test_a_resumed_trial_has_the_earlier_scores_from_the_start(searching: Searching) -> None:
    """Other workers read them while the network is in training."""
    task = tiny_task(rungs=RUNGS)
    stopped = searching.score(LARGEST, task, Until(1))
    seen: list[dict[int, float]] = []
    stub = searching.training

    def slowly(*arguments: object, **options: object) -> object:
        resume = options["resume"]

        def resumed(training: object) -> None:
            resume(training)  # type: ignore[operator]
            seen.append(record(searching.study.trials[-1]).rungs)

        return stub(*arguments, **options | {"resume": resumed})  # type: ignore[arg-type]

    searching.monkeypatch.setattr("search.objective.train", slowly)
    searching.score(LARGEST, task, Until())
    assert seen == [stopped.rungs]


# Named networks


@pytest.mark.parametrize("rungs", [RUNGS, (4,)])
def test_a_named_network_is_trained_to_the_end_whatever_the_policy(
    searching: Searching, rungs: tuple[int, ...]
) -> None:
    task = tiny_task(Limits(params=params_of(LARGEST) / 2), rungs=rungs)
    read = searching.score(LARGEST, task, Until(1, 2, reach=False), named="largest")
    assert (read.state, list(read.rungs)) == ("infeasible", list(rungs))
    assert "front" not in read.constraints


def test_a_network_that_is_named_later_is_trained_to_the_end(searching: Searching) -> None:
    task = tiny_task(rungs=RUNGS)
    searching.score(LARGEST, task, Until(1))
    searching.score(SMALLEST, task, Until(reach=False))
    for number, spec in enumerate((LARGEST, SMALLEST)):
        read = searching.score(spec, task, Until(1, 2, reach=False), named="named")
        assert (read.state, read.continues, list(read.rungs)) == ("finished", number, list(RUNGS))
        assert searching.done() == ["train"]


@pytest.mark.parametrize("sampler", ["freeze_thaw", "random"])
def test_a_run_trains_its_named_networks_to_the_end(searching: Searching, sampler: str) -> None:
    searching.monkeypatch.setattr(surrogate, "MAX_ITERATIONS", 2)
    named = {"smallest": SMALLEST, "largest": LARGEST}
    task = tiny_task(rungs=RUNGS)
    assert run(searching.study, task, tiny_data(), named, sampler, searching.folders, trials=6) == Outcome(6, "enough")
    read = records.records(searching.study)
    states = {name: [one.state for one in read if one.named == name] for name in named}
    assert states["smallest"] == ["not trained", "finished"]
    assert states["largest"] in (["not trained", "finished"], ["not trained"])  # not more than the search trained
    assert {one.state for one in read} <= {"finished", "stopped", "not trained"}
    assert all(max(one.rungs) < 4 for one in read if one.state == "stopped")


# Networks that cannot reach the front


def several() -> list[NetworkSpec]:
    """Large and small networks, not the smallest one."""
    kinds = (
        {"block1_layers": 3, "block1_threshold": 0, "block1_transition": 5},
        {"block1_layers": 1, "block1_threshold": 2, "block1_transition": 3},
    )
    return [decode(SPACE, {**kind, "block1_growth": growth}) for kind in kinds for growth in range(6)]


@pytest.mark.parametrize("sampler", ["freeze_thaw", "random"])
def test_a_network_that_cannot_reach_the_front_is_measured_once_and_never_proposed_again(
    searching: Searching, sampler: str
) -> None:
    """Here smaller networks are both slower and worse."""
    searching.timed(lambda spec: 1e4 / params_of(spec))
    task = tiny_task(rungs=RUNGS)
    policy = searching.study.sampler = sampler_for(sampler, task, 0)
    for spec in several():
        assert searching.score(spec, task, policy, named=spec.fingerprint()).state == "finished"
    read = searching.score(SMALLEST, task, policy)
    assert searching.done() == ["measure"]
    assert (read.state, read.rungs, read.image_passes) == ("not trained", {}, 0)
    assert read.reason == f"not expected to reach the front at {1e4 / params_of(SMALLEST):.3g} ms"
    assert read.constraints["front"] == 1.0
    assert searching.study.trials[-1].constraints["front"] == 1.0  # Optuna's samplers see it
    for _ in range(12):
        assert searching.propose(task, policy).fingerprint != SMALLEST.fingerprint()
    copy = searching.score(SMALLEST, task, policy)
    assert (copy.state, copy.constraints, searching.log) == ("duplicate", read.constraints, [])


def test_without_rungs_optunas_samplers_prune_no_network_before_training(searching: Searching) -> None:
    searching.timed(lambda spec: 1e4 / params_of(spec))
    task = tiny_task(rungs=(2,))
    policy = sampler_for("random", task, 0)
    for spec in several():
        searching.score(spec, task, policy)
    assert searching.score(SMALLEST, task, policy).state == "finished"


# Optuna's samplers with rungs


def test_the_worse_half_is_stopped_and_resumed_once_it_is_in_the_better_half(searching: Searching) -> None:
    """All networks have the same latency, so that only their errors rank them: larger networks are better."""
    searching.timed(lambda spec: 1.0)
    task = tiny_task(rungs=RUNGS)
    policy = searching.study.sampler = sampler_for("random", task, 0)
    searching.monkeypatch.setattr("search.samplers.distinct.can_reach", lambda *_: True)
    worst, worse, best = (
        decode(SPACE, {"block1_layers": 1, "block1_threshold": 2, "block1_growth": n, "block1_transition": n})
        for n in (0, 2, 5)
    )
    assert searching.score(best, task, policy).state == "finished"  # the only one at every rung
    assert list(searching.score(worse, task, policy).rungs) == [1]  # second of two
    assert list(searching.score(worst, task, policy).rungs) == [1]  # third of three
    # The better half of three networks has two.
    resumed = searching.propose(task, policy)
    assert (resumed.fingerprint, resumed.continues) == (worse.fingerprint(), 1)
    assert (resumed.state, list(resumed.rungs), resumed.image_passes) == ("stopped", [1, 2], EPOCH)  # second of two
    assert searching.propose(task, policy).continues is None


# No network is trained twice


def passes_and_ends(read: Collection[Record]) -> tuple[dict[str, int], dict[str, int]]:
    """Training images processed for each network, and the number of times it was trained to the end."""
    passes: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for one in read:
        if one.fingerprint is not None and one.state != "duplicate":
            passes[one.fingerprint] += one.image_passes
            ends[one.fingerprint] += one.trained
    return passes, ends


def assert_each_once(read: Collection[Record]) -> None:
    """Check that no network was trained on more images than one training has, to the end twice, or to a rung twice."""
    passes, ends = passes_and_ends(read)
    assert max(ends.values()) == 1
    assert max(passes.values()) <= RUNGS[-1] * EPOCH
    assert all(passes[name] == RUNGS[-1] * EPOCH for name, end in ends.items() if end)
    continued = [one.continues for one in read if one.continues is not None and one.state != "duplicate"]
    assert len(continued) == len(set(continued))


def test_no_network_is_trained_twice_and_only_stopped_ones_have_checkpoints(searching: Searching) -> None:
    searching.monkeypatch.setattr(surrogate, "MIN_VALUES", 10**9)  # fitting the kernel and
    searching.monkeypatch.setattr(pool, "ADDED_PER_ROUND", 10)  # drawing networks take most of the time
    task = tiny_task(space=LARGE, rungs=RUNGS)
    policy = searching.study.sampler = sampler_for("freeze_thaw", task, 0)
    searching.study.optimize(scorer(task, tiny_data(), policy, searching.folders, NoDisplay()), n_trials=30)
    read = records.records(searching.study)
    assert_each_once(read)
    of_state = {state: {one.fingerprint for one in read if one.state == state} for state in {one.state for one in read}}
    assert {"stopped", "finished"} <= of_state.keys() <= {"stopped", "finished", "not trained"}
    assert all(one.image_passes == 0 for one in read if one.state == "not trained")
    checkpoints = {file.stem for file in searching.folders.checkpoints.iterdir()}
    assert checkpoints == unfinished(read) == of_state["stopped"] - of_state["finished"]


def unfinished(read: Collection[Record]) -> set[str]:
    """Fingerprints of the networks whose training began and did not end."""
    passes, ends = passes_and_ends(read)
    return {name for name, seen in passes.items() if seen > 0 and ends[name] == 0}


class Worker:
    """One of several processes that work on a study, with stubs for measuring and training."""

    def __init__(self, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        torch.set_num_threads(1)
        os.fsync = lambda fd: None  # syncing to disk would take most of the time
        log: list[str] = []
        objective.measure_on = StubMeasurement(log)  # type: ignore[assignment, attr-defined]
        objective.train = StubTraining(log)  # type: ignore[assignment, attr-defined]
        module.MAX_REJECTED, samplers.INFEASIBLE_REDRAWS, surrogate.MAX_ITERATIONS = 30, 10, 2
        self.study = optuna.load_study(study_name="tiny", storage=journal(folder))
        self.folders = StudyFolders(FileSystemArtifactStore(folder / "weights"), folder / "checkpoints")


def search_with_others(folder: Path, number: int, sampler: str, together: Barrier) -> None:
    """Run a search until six networks are trained."""
    worker = Worker(folder)
    together.wait(120)
    run(worker.study, tiny_task(space=CROWDED, rungs=RUNGS), tiny_data(), {}, sampler, worker.folders, trials=6)


def propose_with_others(folder: Path, number: int, sampler: str, together: Barrier) -> None:
    """Make proposals until the study has PROPOSALS of them."""
    worker = Worker(folder)
    together.wait(120)
    task = tiny_task(space=LARGE, rungs=RUNGS)
    policy = worker.study.sampler = sampler_for(sampler, task, number)
    enough = MaxTrialsCallback(PROPOSALS, states=None)
    worker.study.optimize(scorer(task, tiny_data(), policy, worker.folders, NoDisplay()), callbacks=[enough])


@pytest.mark.parametrize(
    ("target", "sampler", "proposals"),
    [
        (search_with_others, "random", 1),
        (search_with_others, "freeze_thaw", 1),
        (propose_with_others, "random", PROPOSALS),
    ],
)
def test_no_network_is_trained_twice_by_several_processes(
    tmp_path: Path, target: Callable[[Path, int, str, Barrier], None], sampler: str, proposals: int
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "checkpoints").mkdir()
    study = optuna.create_study(study_name="tiny", storage=journal(tmp_path), directions=["minimize", "minimize"])
    work_together(target, WORKERS, lambda number, together: (tmp_path, number, sampler, together))
    trials: list[FrozenTrial] = study.trials
    assert len({trial.user_attrs[records.WORKER]["pid"] for trial in trials}) > 1
    read = records.records(study)
    assert len(read) >= proposals
    assert {one.state for one in read} <= {"finished", "stopped", "not trained", "duplicate"}
    assert_each_once(read)
    assert proposals == 1 or any(one.continues is not None for one in read)
