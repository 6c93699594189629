"""The loop of a study: it trains networks proposed by the sampler, and the named networks in turn, to its end."""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search import records
from search.claims import stopped
from search.data import SearchData, class_counts
from search.latency.lease import alive
from search.named import (
    MAX_SHARE,
    any_waiting,
    carried,
    due,
    outside_space,
    queue_measurements,
    queue_trainings,
    to_train,
)
from search.objective import FAILURES, Display, NoDisplay, StudyFolders, scorer
from search.progress import Standings
from search.samplers.named import sampler_for
from search.task import Task
from search.volume import box_in, curve, plateau
from threshnet.baselines import Architecture

OptunaCallback = Callable[[Study, FrozenTrial], None]
"""Called with the study and each trial that has ended."""

MAX_REJECTED = 500  # a run ends after this many consecutive duplicates or infeasible proposals
PROPOSAL_TIMEOUT = timedelta(minutes=10)  # a trial that takes longer to propose a network is considered lost
REMOTE_WORKER_TIMEOUT = timedelta(days=1)  # a trial on another host that runs for longer is considered lost
MAX_RETRIES = 2  # for lost trials; limited, since a network that kills its process must not block a study
MAX_UNREACHABLE = 3  # a run ends after this many consecutive trials with an unreachable device; they are queued again


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run."""

    # Size of the study over all runs, see `counted`.
    trials: int
    # The reason why the run ended: "enough" (trials), "spent" (budget), "plateau", "timeout", "interrupted",
    # "fruitless" (MAX_REJECTED proposals), "unreachable" (MAX_UNREACHABLE trials) or
    # "stopped" (by one of the caller's callbacks).
    ended: str


def run(
    study: Study,
    task: Task,
    data: SearchData,
    named: Mapping[str, Architecture],
    sampler: str,
    folders: StudyFolders,
    *,
    trials: int,
    budget: float | None = None,
    until_plateau: bool = False,
    timeout_s: float | None = None,
    callbacks: Sequence[OptunaCallback] = (),
    display: Display | None = None,
) -> Outcome:
    """Continue `study` until `trials` networks, named ones included, were scored at a rung or at the end, or failed.

    The run ends earlier if the study has processed as many training images as `budget` full trainings would. With
    `until_plateau`, it also ends if the front has plateaued (search.volume.plateau). The search ends early enough to
    train the named networks, but they take at most MAX_SHARE of the study. A study only has enough networks once one of
    its networks is trained to the end. If training or measuring fails, the trial fails and the study continues. Any
    other exception ends the run. Duplicates and networks that are pruned before training do not count. `callbacks` are
    called after each trial, and `display` shows the progress. Ctrl-C ends the run, and the next run retrains the
    network that was in training.
    """
    seed = task.seed + len(
        study.get_trials(deepcopy=False)
    )  # so that a resumed sampler does not repeat its first draws
    policy = study.sampler = sampler_for(sampler, task, seed)
    class_images = class_counts(data)["validation"]
    limit_ms = task.limits.latency_ms
    standings = Standings(study, trials, budget, task.objective, class_images, limit_ms) if display else None
    display = display or NoDisplay()
    full = task.recipe.image_passes(len(data.train))
    most = int(MAX_SHARE * min(trials, trials if budget is None else budget))
    outcome, began = "stopped", time.monotonic()
    rejected = unreachable = 0

    def reached(seen: Sequence[FrozenTrial], named_trainings: int) -> str | None:
        """Return the limit of the study that is reached once this many more named networks are trained, or None."""
        if size_of(seen) + named_trainings >= trials and not only_stopped(seen):
            return "enough"
        spent = budget is not None and images_processed(seen) + named_trainings * full >= budget * full
        return "spent" if spent else None

    def stop_reason() -> str | None:
        """Queue the named networks whose turn it is, and return the reason to stop now, or None."""
        seen = study.get_trials(deepcopy=False)
        if reason := reached(seen, 0):
            return reason
        searched = sum(ended(trial) for trial in seen if records.NAMED not in trial.user_attrs)
        at_end = min(most, searched)
        reason = reached(seen, to_train(seen, at_end))
        if reason is None and rejected >= MAX_REJECTED:
            reason = "fruitless"
        if reason is None and until_plateau and has_plateaued(study, task):
            reason = "plateau"
        queue_trainings(study, at_end if reason else min(most, due(searched)))
        return None if any_waiting(study.get_trials(deepcopy=False)) else reason

    def show() -> None:
        seen = study.get_trials(deepcopy=False)
        done = size_of(seen)
        display.counted(done)
        if standings:
            display.standing(standings.now(done, images_processed(seen) / full))

    def after(study: Study, trial: FrozenTrial) -> None:
        nonlocal outcome, rejected, unreachable
        display.finished(records.record(trial))
        show()
        if records.NAMED not in trial.user_attrs:
            rejected = 0 if counts(trial) else rejected + 1
        unreachable = unreachable + 1 if _unreachable(trial) else 0
        if unreachable:
            enqueue(study, task, named)  # queues the trial again
        if reason := "unreachable" if unreachable >= MAX_UNREACHABLE else stop_reason():
            outcome = reason
            study.stop()

    fail_abandoned(study)
    if reason := stop_reason():
        return Outcome(counted(study), reason)
    enqueue(study, task, named)
    show()
    score = scorer(task, data, policy, folders, display)
    try:
        study.optimize(score, timeout=timeout_s, callbacks=[after, *callbacks], catch=FAILURES)
    except KeyboardInterrupt:
        outcome = "interrupted"
    if outcome == "stopped" and timeout_s is not None and time.monotonic() - began >= timeout_s:
        outcome = "timeout"
    return Outcome(counted(study), outcome)


def ended(trial: FrozenTrial) -> bool:
    """Return whether the network of a trial was trained to the end or failed."""
    final = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    return final and records.DUPLICATE_OF not in trial.user_attrs and not records.unfinished(trial)


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial counts towards the size of a study, because its network was scored or failed."""
    return ended(trial) or stopped(trial)


def counted(study: Study) -> int:
    """Return the size of a study, see `size_of`."""
    return size_of(study.get_trials(deepcopy=False))


def size_of(trials: Sequence[FrozenTrial]) -> int:
    """Return the size of the study of these trials: the number of networks that were scored or failed.

    A network that was stopped at a rung counts. A network that was stopped at a rung and resumed counts once.
    """
    done = [trial for trial in trials if counts(trial)]
    resumed = {trial.user_attrs.get(records.CONTINUES) for trial in done}
    return sum(trial.number not in resumed for trial in done)


def only_stopped(trials: Sequence[FrozenTrial]) -> bool:
    """Return whether networks of the search were stopped at rungs and none was trained to the end."""
    searched = [trial for trial in trials if records.NAMED not in trial.user_attrs]
    complete = any(trial.state is TrialState.COMPLETE for trial in searched)
    return not complete and any(stopped(trial) for trial in searched)


def images_processed(trials: Sequence[FrozenTrial]) -> int:
    """Return the number of training images processed by the trials of a study; an image counts once per epoch."""
    return sum(trial.user_attrs.get(records.IMAGE_PASSES, 0) for trial in trials)


def has_plateaued(study: Study, task: Task) -> bool:
    """Return whether the front of the study has plateaued."""
    read = records.records(study)
    if not any(record.trained for record in read):
        return False
    box = box_in(study, task.objective, task.space.classes, task.limits.latency_ms)
    return plateau(curve(records.by_end(study, read), box)).reached


def fail_abandoned(study: Study) -> None:
    """Mark running trials as lost if their process has ended, so that they are repeated."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(records.WORKER)
        age = datetime.now() - (trial.datetime_start or datetime.min)
        if worker is None:
            gone = age > PROPOSAL_TIMEOUT
        elif worker["host"] == socket.gethostname():
            gone = worker["pid"] == os.getpid() or not alive(worker["pid"])
        else:
            gone = age > REMOTE_WORKER_TIMEOUT
        if gone:
            with suppress(UpdateFinishedTrialError, ValueError):  # another worker has already ended the trial
                reason = f"{records.LOST}: its process is gone"
                study._storage.set_trial_user_attr(trial._trial_id, records.REASON, reason)
                study.tell(trial.number, state=TrialState.FAIL)


def enqueue(study: Study, task: Task, named: Mapping[str, Architecture]) -> None:
    """Queue the measurements of named networks that the study does not have, and retry interrupted and lost trials."""
    queue_measurements(study, task.space, named)
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(records.RETRY_OF) for trial in trials}
    for trial in trials:
        # A trial that ended while proposing may lack parameters. A queued trial still has all of its parameters; other
        # trials have none.
        params = trial.params if records.FINGERPRINT in trial.user_attrs else trial.system_attrs.get("fixed_params")
        again = records.unfinished(trial) and trial.number not in retried and _losses(trial, trials) <= MAX_RETRIES
        if again and (params or outside_space(trial)):
            attrs = carried(trial, records.NAMED, records.MEASURES)
            study.enqueue_trial(params or {}, user_attrs=attrs | {records.RETRY_OF: trial.number})


def _losses(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the number of times a trial was lost, including the trials that it repeats."""
    before = trial.user_attrs.get(records.RETRY_OF)
    lost = trial.user_attrs.get(records.REASON) != records.INTERRUPTED and not _unreachable(trial)
    return lost + (0 if before is None else _losses(trials[before], trials))


def _unreachable(trial: FrozenTrial) -> bool:
    return str(trial.user_attrs.get(records.REASON, "")).startswith(records.UNREACHABLE)
