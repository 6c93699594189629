"""The loop of a study: named networks first, then the sampler's proposals, until enough networks are trained."""

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search import records
from search.claims import stopped
from search.data import SearchData
from search.objective import FAILURES, Callbacks, NoCallbacks, StudyFolders, scorer
from search.samplers.named import sampler_for
from search.task import Task
from search.volume import curve, plateau, reference_point
from space import encode
from threshnet.spec import NetworkSpec

MAX_REJECTED = 500  # consecutive duplicates or infeasible proposals after which a run gives up
PROPOSAL_TIMEOUT = timedelta(minutes=10)  # a trial that proposes for longer is lost: its process is gone
REMOTE_WORKER_TIMEOUT = timedelta(days=1)  # a trial of another host that runs for longer is lost
MAX_RETRIES = 2  # repetitions of a lost trial: a network that kills its process must not block a study forever
MAX_UNREACHABLE = 3  # consecutive trials with an unreachable device after which a run ends; each one is queued again


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run."""

    # Trained or failed trials of the study, over all runs.
    trials: int
    # The reason for the end: "enough" (trials), "spent" (budget), "plateau", "timeout", "interrupted", "fruitless"
    # (MAX_REJECTED proposals) or "unreachable" (MAX_UNREACHABLE trials).
    ended: str


def run(
    study: Study,
    task: Task,
    data: SearchData,
    named: Mapping[str, NetworkSpec],
    sampler: str,
    folders: StudyFolders,
    *,
    trials: int,
    budget: float | None = None,
    until_plateau: bool = False,
    timeout_s: float | None = None,
    callbacks: Callbacks | None = None,
) -> Outcome:
    """Continue `study` until it has `trials` trained or failed networks, named ones included.

    It ends earlier once its trainings have processed as many images as `budget` full trainings would and, with
    `until_plateau`, once its front has plateaued (search.volume.plateau).
    If training or measuring fails, the trial fails and the study continues; any other exception ends the run.
    Duplicates and networks that are pruned before training do not count. `callbacks` report the progress.
    Ctrl-C ends the run; the next run repeats the network that was in training.
    """
    seed = task.seed + len(study.get_trials(deepcopy=False))  # a resumed sampler must not repeat its first draws
    policy = study.sampler = sampler_for(sampler, task, seed)
    fail_abandoned(study)
    enqueue(study, task, named)
    callbacks = callbacks or NoCallbacks()
    ended = "timeout"
    rejected = unreachable = 0

    def stop_reason(done: int) -> str | None:
        """The reason to stop now, if there is one."""
        if done >= trials:
            return "enough"
        if budget is not None and images_processed(study) >= budget * full:
            return "spent"
        return "plateau" if until_plateau and has_plateaued(study, task) else None

    def after(study: Study, trial: FrozenTrial) -> None:
        nonlocal ended, rejected, unreachable
        callbacks.finished(records.record(trial))
        done = counted(study)
        callbacks.counted(done)
        rejected = 0 if counts(trial) or stopped(trial) else rejected + 1
        unreachable = unreachable + 1 if _unreachable(trial) else 0
        if unreachable:
            enqueue(study, task, named)  # queues the trial again
        if reason := stop_reason(done):
            ended = reason
            study.stop()
        elif rejected >= MAX_REJECTED:
            ended = "fruitless"
            study.stop()
        elif unreachable >= MAX_UNREACHABLE:
            ended = "unreachable"
            study.stop()

    full = task.recipe.image_passes(len(data.train))
    done = counted(study)
    if reason := stop_reason(done):
        return Outcome(done, reason)
    callbacks.counted(done)
    score = scorer(task, data, policy, folders, callbacks)
    try:
        study.optimize(score, timeout=timeout_s, callbacks=[after], catch=FAILURES)
    except KeyboardInterrupt:
        ended = "interrupted"
    return Outcome(counted(study), ended)


def counts(trial: FrozenTrial) -> bool:
    """True if a trial counts towards the size of a study: its network was trained, or failed."""
    attrs = trial.user_attrs
    ended = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    return ended and records.DUPLICATE_OF not in attrs and not records.unfinished(trial)


def counted(study: Study) -> int:
    """Number of trials of the study that count."""
    return sum(counts(trial) for trial in study.get_trials(deepcopy=False))


def images_processed(study: Study) -> int:
    """Training images processed by a study's trials, each epoch counted."""
    return sum(trial.user_attrs.get(records.IMAGE_PASSES, 0) for trial in study.get_trials(deepcopy=False))


def has_plateaued(study: Study, task: Task) -> bool:
    """True if the study's front has plateaued."""
    read = records.records(study)
    if not any(record.trained for record in read):
        return False
    reference = reference_point(read, task.space.classes, task.limits.latency_ms)
    return plateau(curve(records.by_end(study, read), reference)).reached


def fail_abandoned(study: Study) -> None:
    """Mark running trials whose process is gone as lost, so that they are repeated."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(records.WORKER)
        age = datetime.now() - (trial.datetime_start or datetime.min)
        if worker is None:
            gone = age > PROPOSAL_TIMEOUT
        elif worker["host"] == socket.gethostname():
            gone = worker["pid"] == os.getpid() or not _alive(worker["pid"])
        else:
            gone = age > REMOTE_WORKER_TIMEOUT
        if gone:
            with suppress(UpdateFinishedTrialError, ValueError):  # another worker was faster
                reason = f"{records.LOST}: its process is gone"
                study._storage.set_trial_user_attr(trial._trial_id, records.REASON, reason)
                study.tell(trial.number, state=TrialState.FAIL)


def enqueue(study: Study, task: Task, named: Mapping[str, NetworkSpec]) -> None:
    """Queue the named networks that the study lacks, and the networks whose trials were interrupted or lost."""
    trials = study.get_trials(deepcopy=False)
    names = {trial.user_attrs.get(records.NAMED) for trial in trials}
    for name, spec in named.items():
        if name not in names:
            study.enqueue_trial(encode(task.space, spec), user_attrs={records.NAMED: name})
    retried = {trial.user_attrs.get(records.RETRY_OF) for trial in trials}
    for trial in trials:
        # A trial that ended while proposing may lack parameters: a queued one still has all of them, any other none.
        params = trial.params if records.FINGERPRINT in trial.user_attrs else trial.system_attrs.get("fixed_params")
        again = records.unfinished(trial) and trial.number not in retried and _losses(trial, trials) <= MAX_RETRIES
        if again and params:
            attrs = {key: trial.user_attrs[key] for key in (records.NAMED,) if key in trial.user_attrs}
            study.enqueue_trial(params, user_attrs=attrs | {records.RETRY_OF: trial.number})


def _losses(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Number of times that a trial was lost, including the trials that it repeats."""
    before = trial.user_attrs.get(records.RETRY_OF)
    lost = trial.user_attrs.get(records.REASON) != records.INTERRUPTED and not _unreachable(trial)
    return lost + (0 if before is None else _losses(trials[before], trials))


def _unreachable(trial: FrozenTrial) -> bool:
    return str(trial.user_attrs.get(records.REASON, "")).startswith(records.UNREACHABLE)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
