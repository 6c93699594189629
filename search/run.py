"""Running a study: named networks first, then what the sampler proposes, until there are enough trained networks."""

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

# A study gives up after this many proposals in a row that were not trained.
FRUITLESS = 500
# A trial whose sampler takes longer than this has lost its process; so has one that another host began this long ago.
PROPOSING = timedelta(minutes=10)
ELSEWHERE = timedelta(days=1)
# How often a lost trial is repeated: a network that kills its process must not stop a study for good.
RETRIES = 2
# A run ends after this many trials in a row whose device could not be reached; each of them is queued once more.
UNREACHABLE = 3


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    # Trained or failed trials of the study, all runs together.
    trials: int
    # "enough", "spent", "plateau", "timeout", "interrupted", "fruitless" or "unreachable".
    ended: str


def run(
    study: Study,
    task: Task,
    data: SearchData,
    named: Mapping[str, NetworkSpec],
    sampler: str,
    kept: StudyFolders,
    *,
    trials: int,
    budget: float | None = None,
    until_plateau: bool = False,
    timeout_s: float | None = None,
    watch: Callbacks | None = None,
) -> Outcome:
    """Go on with `study` until it has `trials` trained or failed networks, named ones included.

    It ends before that where its trainings have seen as many images as `budget` full trainings would, and with
    `until_plateau` where its front no longer moves (search.volume.plateau).
    A trial fails, and the study goes on, where training or measuring does; any other exception ends the run.
    Duplicates and networks that break a limit before training do not count. `watch` looks on.
    Ctrl-C ends the run; the network in training is then repeated by the next run.
    """
    seed = task.seed + len(study.get_trials(deepcopy=False))  # a resumed sampler must not repeat its first draws
    policy = study.sampler = sampler_for(sampler, task, seed)
    fail_abandoned(study)
    enqueue(study, task, named)
    watch = watch or NoCallbacks()
    ended = "timeout"
    fruitless = unreachable = 0

    def come_to(done: int) -> str | None:
        """The end that the study has come to, if it has."""
        if done >= trials:
            return "enough"
        if budget is not None and spent(study) >= budget * full:
            return "spent"
        return "plateau" if until_plateau and settled(study, task) else None

    def after(study: Study, trial: FrozenTrial) -> None:
        nonlocal ended, fruitless, unreachable
        watch.finished(records.record(trial))
        done = counted(study)
        watch.counted(done)
        fruitless = 0 if counts(trial) or stopped(trial) else fruitless + 1
        unreachable = unreachable + 1 if _unreachable(trial) else 0
        if unreachable:
            enqueue(study, task, named)  # once more
        if end := come_to(done):
            ended = end
            study.stop()
        elif fruitless >= FRUITLESS:
            ended = "fruitless"
            study.stop()
        elif unreachable >= UNREACHABLE:
            ended = "unreachable"
            study.stop()

    full = task.recipe.image_passes(len(data.train))
    done = counted(study)
    if end := come_to(done):
        return Outcome(done, end)
    watch.counted(done)
    score = scorer(task, data, policy, kept, watch)
    try:
        study.optimize(score, timeout=timeout_s, callbacks=[after], catch=FAILURES)
    except KeyboardInterrupt:
        ended = "interrupted"
    return Outcome(counted(study), ended)


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial counts towards the size of a study: its network was trained, or failed to."""
    attrs = trial.user_attrs
    ended = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    return ended and records.DUPLICATE_OF not in attrs and not records.unfinished(trial)


def counted(study: Study) -> int:
    """How many trials of the study count."""
    return sum(counts(trial) for trial in study.get_trials(deepcopy=False))


def spent(study: Study) -> int:
    """Training images that a study's trials have seen, repetitions counted."""
    return sum(trial.user_attrs.get(records.IMAGE_PASSES, 0) for trial in study.get_trials(deepcopy=False))


def settled(study: Study, task: Task) -> bool:
    """Whether the study's front no longer moves."""
    read = records.records(study)
    if not any(record.trained for record in read):
        return False
    reference = reference_point(read, task.space.classes, task.limits.latency_ms)
    return plateau(curve(records.by_end(study, read), reference)).reached


def fail_abandoned(study: Study) -> None:
    """Fail the running trials whose process is gone as lost, so that they are repeated."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(records.WORKER)
        age = datetime.now() - (trial.datetime_start or datetime.min)
        if worker is None:
            gone = age > PROPOSING
        elif worker["host"] == socket.gethostname():
            gone = worker["pid"] == os.getpid() or not _alive(worker["pid"])
        else:
            gone = age > ELSEWHERE
        if gone:
            with suppress(UpdateFinishedTrialError, ValueError):  # another worker was faster
                reason = f"{records.LOST}: its process is gone"
                study._storage.set_trial_user_attr(trial._trial_id, records.REASON, reason)
                study.tell(trial.number, state=TrialState.FAIL)


def enqueue(study: Study, task: Task, named: Mapping[str, NetworkSpec]) -> None:
    """Queue the named networks that the study has not seen, and the networks whose trials were interrupted or lost."""
    seen = study.get_trials(deepcopy=False)
    names = {trial.user_attrs.get(records.NAMED) for trial in seen}
    for name, spec in named.items():
        if name not in names:
            study.enqueue_trial(encode(task.space, spec), user_attrs={records.NAMED: name})
    retried = {trial.user_attrs.get(records.RETRY_OF) for trial in seen}
    for trial in seen:
        # A trial stopped amid its proposal has only some of its parameters: all of them if it was queued, else none.
        params = trial.params if records.FINGERPRINT in trial.user_attrs else trial.system_attrs.get("fixed_params")
        again = records.unfinished(trial) and trial.number not in retried and _losses(trial, seen) <= RETRIES
        if again and params:
            kept = {key: trial.user_attrs[key] for key in (records.NAMED,) if key in trial.user_attrs}
            study.enqueue_trial(params, user_attrs=kept | {records.RETRY_OF: trial.number})


def _losses(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """How often the network of a trial was lost so far, the trials that this one repeats included."""
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
