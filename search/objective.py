"""The score of one candidate: (validation error in percent, latency in milliseconds), and everything told about it."""

import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol as Interface

from optuna import Trial, TrialPruned
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial, TrialState

from search import records
from search.data import SearchData
from search.latency.devices import device_named, measure_on
from search.latency.lease import shared
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.latency.reading import Latency
from search.recipes import Recipe
from search.samplers import known_trials
from search.train import TrainingFailed, train
from space import Limits, Space, suggest
from threshnet.checkpoint import save_weights
from threshnet.costs import Costs, count
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec

FAILURES = (TrainingFailed, MeasurementError)  # outcomes that fail a trial and let the study go on


@dataclass(frozen=True)
class Task:
    """What a study asks of every candidate."""

    space: Space
    # Height and width of the images, pixels.
    input_size: int
    limits: Limits
    recipe: Recipe
    # Whether training may mirror images where the recipe leaves that to the data set.
    flip: bool
    # Seed of the weights and the order of the images, the same for every candidate.
    seed: int
    # What trains: "cpu", "cuda", "cuda:1".
    trains_on: str
    # Where latency is measured, and through which runtimes; the first one's reading is the objective.
    device: str
    runtimes: tuple[str, ...]
    protocol: Protocol

    def counted(self, spec: NetworkSpec) -> tuple[Costs | None, dict[str, float]]:
        """Costs of a network, None where its pools leave no pixel, and the constraints that counting can tell."""
        room = {"input_size": smallest_input(spec) / self.input_size - 1}
        if room["input_size"] > 0:
            return None, room
        costs = count(spec, self.input_size)
        return costs, room | self.limits.of_costs(costs)

    def fits(self, spec: NetworkSpec) -> bool:
        """Whether a network keeps every limit that counting can tell."""
        return all(value <= 0 for value in self.counted(spec)[1].values())


class Watch(Interface):
    """Who looks on while candidates are scored."""

    def stage(self, number: int, text: str) -> None:
        """Trial `number` begins something, told in a few words."""

    def progress(self, done: int, total: int) -> None:
        """Training has come so many steps."""

    def counted(self, trials: int) -> None:
        """So many trials count towards the study."""

    def finished(self, record: records.Record) -> None:
        """A trial has ended."""


class Silent:
    """A Watch that looks away."""

    def stage(self, number: int, text: str) -> None:
        """Do nothing."""

    def progress(self, done: int, total: int) -> None:
        """Do nothing."""

    def counted(self, trials: int) -> None:
        """Do nothing."""

    def finished(self, record: records.Record) -> None:
        """Do nothing."""


def scorer(
    task: Task, data: SearchData, weights: FileSystemArtifactStore, watch: Watch
) -> Callable[[Trial], tuple[float, float]]:
    """The objective function of a study, for Study.optimize with `catch=FAILURES`."""

    def score(trial: Trial) -> tuple[float, float]:
        trial.set_user_attr(records.WORKER, {"host": socket.gethostname(), "pid": os.getpid()})
        try:
            return _score(trial, task, data, weights, watch)
        except TrialPruned:
            raise
        except ConnectionLost as lost:
            trial.set_user_attr(records.REASON, f"{records.UNREACHABLE}: {lost}")
            raise
        except FAILURES as failure:
            trial.set_user_attr(records.REASON, str(failure))
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(records.REASON, records.INTERRUPTED)
            raise
        except Exception as fault:  # a full disk, a fault of ours: the study stops, the network is not to blame
            trial.set_user_attr(records.REASON, f"{records.LOST}: {type(fault).__name__}: {fault}")
            raise

    return score


def _score(
    trial: Trial, task: Task, data: SearchData, weights: FileSystemArtifactStore, watch: Watch
) -> tuple[float, float]:
    watch.stage(trial.number, "proposing")
    spec = suggest(task.space, trial)
    earlier = known_trials(trial.study).get(spec.fingerprint())
    describe(trial, spec)
    always = records.NAMED in trial.user_attrs  # named networks are trained even where they break a limit
    if earlier is not None and not (always and earlier.state is TrialState.PRUNED):
        return _repeat(trial, earlier)

    costs, excess = task.counted(spec)
    if costs is not None:
        trial.set_user_attr(records.COSTS, {key: value for key, value in asdict(costs).items() if key != "input_size"})
    _require(trial, excess, always and costs is not None)

    readings: dict[str, Latency] = {}
    for runtime in task.runtimes:
        watch.stage(trial.number, f"measuring with {runtime}")
        readings[runtime] = measure_on(task.device, spec, task.input_size, runtime, task.protocol)
        taken = {reading.backend: reading.to_json() for reading in readings.values()}
        trial.set_user_attr(records.LATENCY, taken)
        if runtime == task.runtimes[0]:
            _require(trial, task.limits.of_latency(readings[runtime].latency_ms), always)
    latency_ms = readings[task.runtimes[0]].latency_ms

    watch.stage(trial.number, f"training, {latency_ms:.2f} ms")
    trained = train(
        spec,
        data.train,
        data.validation,
        task.recipe,
        flip=task.flip,
        seed=task.seed,
        device=task.trains_on,
        turn=shared if task.trains_on == "cpu" else partial(shared, device_named(task.trains_on).lease),
        progress=watch.progress,
    )
    trial.set_user_attr(records.EPOCHS, [asdict(epoch) for epoch in trained.epochs])
    trial.set_user_attr(records.IMAGE_PASSES, trained.image_passes)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_weights(trained.model, file)
        artifact = upload_artifact(artifact_store=weights, file_path=str(file), study_or_trial=trial)
    trial.set_user_attr(records.WEIGHTS, artifact)
    return trained.error, latency_ms


def describe(trial: Trial, spec: NetworkSpec) -> None:
    """Write down which network a trial stands for."""
    trial.set_user_attr(records.FINGERPRINT, spec.fingerprint())
    trial.set_user_attr(records.NETWORK, spec.to_json())
    trial.set_user_attr(records.SCHEDULE, records.schedule_of(spec))


def _require(trial: Trial, excess: dict[str, float], always: bool) -> None:
    """Tell Optuna the constraints; end the trial untrained where one is broken, unless it is to run `always`."""
    for name, value in excess.items():
        trial.set_constraint(name, value)
    broken = {name: value for name, value in excess.items() if value > 0}
    if broken and not always:
        name, value = max(broken.items(), key=lambda item: item[1])
        reason = f"{100 * value:.0f} % over the limit of {name}"
        if name == "input_size":
            reason = "pools the image away"
        trial.set_user_attr(records.REASON, reason)
        raise TrialPruned(reason)


def _repeat(trial: Trial, earlier: FrozenTrial) -> tuple[float, float]:
    """End a trial whose network an earlier trial had, with the same outcome."""
    trial.set_user_attr(records.DUPLICATE_OF, earlier.number)
    for name, value in earlier.constraints.items():
        trial.set_constraint(name, value)
    if earlier.state is TrialState.COMPLETE:
        error, latency_ms = earlier.values
        return error, latency_ms
    raise TrialPruned(f"the network of trial {earlier.number}")
