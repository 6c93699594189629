"""The score of one candidate: (validation error in percent, latency in milliseconds), and everything told about it."""

import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from optuna import Trial, TrialPruned
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial, TrialState

from search import records
from search.claims import claim, latest_trials, scores, stopped
from search.data import SearchData, identity
from search.latency.devices.named import device_named
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.latency.protocol import ConnectionLost, MeasurementError
from search.latency.reading import Latency
from search.samplers.sampler import Policy
from search.task import Task
from search.training.checkpoints import load_training, save_training
from search.training.train import Training, TrainingFailed, train
from space import suggest
from threshnet.checkpoint import save_weights
from threshnet.network import ThreshNet
from threshnet.spec import NetworkSpec

FAILURES = (TrainingFailed, MeasurementError)  # outcomes that fail a trial and let the study go on


class Callbacks(Interface):
    """Who looks on while candidates are scored."""

    def stage(self, number: int, text: str) -> None:
        """Trial `number` begins something, told in a few words."""

    def progress(self, done: int, total: int) -> None:
        """Training has come so many steps."""

    def counted(self, trials: int) -> None:
        """So many trials count towards the study."""

    def finished(self, record: records.Record) -> None:
        """A trial has ended."""


class NoCallbacks:
    """No-op callbacks."""

    def stage(self, number: int, text: str) -> None:
        """Do nothing."""

    def progress(self, done: int, total: int) -> None:
        """Do nothing."""

    def counted(self, trials: int) -> None:
        """Do nothing."""

    def finished(self, record: records.Record) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class StudyFolders:
    """Where trained weights and trainings under way are kept."""

    weights: FileSystemArtifactStore
    # Folder of the trainings that were stopped at a rung.
    checkpoints: Path
    # Draws a network on images of so many pixels, under a title, as SVG text, which is kept beside the weights.
    draw: Callable[[NetworkSpec, int, str], str] | None = None


def scorer(
    task: Task, data: SearchData, policy: Policy, kept: StudyFolders, watch: Callbacks
) -> Callable[[Trial], tuple[float, float]]:
    """The objective function of a study, for Study.optimize with `catch=FAILURES`."""
    images = identity(data)

    def score(trial: Trial) -> tuple[float, float]:
        trial.set_user_attr(records.WORKER, {"host": socket.gethostname(), "pid": os.getpid()})
        try:
            return Scoring(trial, task, data, policy, kept, watch, images).score()
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


@dataclass(frozen=True)
class Scoring:
    """The scoring of one trial."""

    trial: Trial
    task: Task
    data: SearchData
    policy: Policy
    kept: StudyFolders
    watch: Callbacks
    images: dict[str, Any]

    def score(self) -> tuple[float, float]:
        """Validation error in percent and latency in ms; TrialPruned where the network is not trained to the end."""
        self.watch.stage(self.trial.number, "proposing")
        spec = suggest(self.task.space, self.trial)
        name = spec.fingerprint()
        always = records.NAMED in self.trial.user_attrs  # named networks are trained though they break a limit
        earlier = latest_trials(self.trial.study).get(name)
        describe(self.trial, spec)
        going_on = earlier is not None and stopped(earlier)
        if earlier and not (going_on or (always and earlier.state is TrialState.PRUNED)):
            return _repeat(self.trial, earlier)
        rival = claim(self.trial, name, earlier)
        if rival:
            return _repeat(self.trial, rival)
        latency_ms = self._measured(spec, always, earlier)
        if not (always or going_on or self.policy.can_reach(self.trial.study, name)):
            self.trial.set_constraint("front", 1.0)
            raise _turned_away(self.trial, f"cannot be expected to reach the front at {latency_ms:.3g} ms")
        self._keep_picture(spec)
        self.watch.stage(self.trial.number, f"training, {latency_ms:.2f} ms")
        return self._error(spec, always), latency_ms

    def _measured(self, spec: NetworkSpec, always: bool, earlier: FrozenTrial | None) -> float:
        """Latency in ms, that of the trial whose training goes on where there is one; the limits are checked."""
        trial, task = self.trial, self.task
        costs, excess = task.counted(spec)
        if costs is not None:
            counted = {key: value for key, value in asdict(costs).items() if key != "input_size"}
            trial.set_user_attr(records.COSTS, counted)
        _require(trial, excess, always and costs is not None)
        if earlier and len(earlier.user_attrs.get(records.LATENCY, {})) == len(task.runtimes):
            for key in (records.LATENCY, records.LATENCY_MS):
                trial.set_user_attr(key, earlier.user_attrs[key])
            latency_ms = float(earlier.user_attrs[records.LATENCY_MS])
            _require(trial, task.limits.of_latency(latency_ms), always)
            return latency_ms
        taken: list[Latency] = []
        for runtime in task.runtimes:
            self.watch.stage(trial.number, f"measuring with {runtime}")
            taken.append(measure_on(task.device, spec, task.input_size, runtime, task.protocol))
            trial.set_user_attr(records.LATENCY, {reading.backend: reading.to_json() for reading in taken})
            if len(taken) == 1:
                trial.set_user_attr(records.LATENCY_MS, taken[0].latency_ms)
                _require(trial, task.limits.of_latency(taken[0].latency_ms), always)
        return taken[0].latency_ms

    def _keep_picture(self, spec: NetworkSpec) -> None:
        """Keep the picture of a network that is to be trained, for optuna-dashboard."""
        if self.kept.draw is None:
            return
        trial = self.trial
        name = trial.user_attrs.get(records.NAMED)
        title = f"Trial {trial.number} of {trial.study.study_name}" + (f": {name}" if name else "")
        try:
            svg = self.kept.draw(spec, self.task.input_size, title)
        except Exception as fault:  # whatever it is, the network can be trained without
            self.watch.stage(trial.number, f"not drawn: {fault}")
            return
        self._upload("schedule.svg", lambda file: file.write_text(svg, encoding="utf-8"))

    def _upload(self, name: str, write: Callable[[Path], object]) -> str:
        """Keep what `write` puts into a file of that name as an artifact of the trial; returns its id."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            write(file)
            return upload_artifact(artifact_store=self.kept.weights, file_path=str(file), study_or_trial=self.trial)

    def _error(self, spec: NetworkSpec, always: bool) -> float:
        """Validation error in percent at the end of the training; TrialPruned where it is stopped at a rung."""
        trial, task = self.trial, self.task
        file = self.kept.checkpoints / f"{spec.fingerprint()}.pt"
        conditions = {"network": spec.fingerprint(), "recipe": asdict(task.recipe), "seed": task.seed} | {
            "input size": task.input_size,
            "images": self.images,
            "flip": task.flip,
        }
        errors: dict[str, float] = {}
        begun: list[Training[ThreshNet]] = []

        def resume(training: Training[ThreshNet]) -> None:
            begun.append(training)
            if file.exists():
                load_training(training, file, conditions)
            known = scores(trial.study, spec.fingerprint())
            errors.update({epochs: error for epochs, error in known.items() if int(epochs) <= len(training.epochs)})
            if errors:  # so that others know them of a network that is busy
                trial.set_user_attr(records.RUNGS, errors)

        def should_continue(training: Training[ThreshNet], error: float) -> bool:
            errors[str(len(training.epochs))] = error
            trial.set_user_attr(records.RUNGS, errors)
            save_training(training, file, conditions)  # last: without it the rung is scored once more
            trial.set_user_attr(records.IMAGE_PASSES, training.image_passes)
            self.watch.stage(trial.number, f"deciding, {error:.1f} % after {len(training.epochs)} epochs")
            return always or self.policy.should_continue(trial.study, spec.fingerprint())

        try:
            trained = train(
                spec,
                self.data.train,
                self.data.validation,
                task.recipe,
                flip=task.flip,
                seed=task.seed,
                device=task.trains_on,
                rungs=task.rungs,
                resume=resume,
                should_continue=should_continue,
                turn=shared if task.trains_on == "cpu" else partial(shared, device_named(task.trains_on).lease),
                progress=self.watch.progress,
            )
        finally:  # a training that failed or was interrupted has cost as much
            if begun:
                trial.set_user_attr(records.IMAGE_PASSES, begun[0].image_passes)
        epochs = len(trained.epochs)
        trial.set_user_attr(records.EPOCHS, [asdict(epoch) for epoch in trained.epochs])
        if epochs < task.recipe.epochs:
            raise _turned_away(trial, f"stopped after {epochs} of {task.recipe.epochs} epochs at {trained.error:.2f} %")
        trial.set_user_attr(records.RUNGS, errors | {str(epochs): trained.error})
        artifact = self._upload("model.safetensors", partial(save_weights, trained.model))
        trial.set_user_attr(records.WEIGHTS, artifact)
        file.unlink(missing_ok=True)
        return trained.error


def describe(trial: Trial, spec: NetworkSpec) -> None:
    """Write down which network a trial stands for; its fingerprint is its claim, see claims.py."""
    trial.set_user_attr(records.NETWORK, spec.to_json())
    trial.set_user_attr(records.SCHEDULE, records.schedule_of(spec))


def _turned_away(trial: Trial, reason: str) -> TrialPruned:
    """The end of a trial without values, its reason written down."""
    trial.set_user_attr(records.REASON, reason)
    return TrialPruned(reason)


def _require(trial: Trial, excess: dict[str, float], always: bool) -> None:
    """Tell Optuna the constraints; end the trial untrained where one is broken, unless it is to run `always`."""
    for name, value in excess.items():
        trial.set_constraint(name, value)
    broken = {name: value for name, value in excess.items() if value > 0}
    if broken and not always:
        name, value = max(broken.items(), key=lambda item: item[1])
        over = f"{100 * value:.0f} % over the limit of {name}"
        raise _turned_away(trial, "pools the image away" if name == "input_size" else over)


def _repeat(trial: Trial, earlier: FrozenTrial) -> tuple[float, float]:
    """End a trial whose network an earlier trial had, with the same outcome."""
    trial.set_user_attr(records.DUPLICATE_OF, earlier.number)
    trial.set_user_attr(records.FINGERPRINT, earlier.user_attrs[records.FINGERPRINT])
    for name, value in earlier.constraints.items():
        trial.set_constraint(name, value)
    if earlier.state is TrialState.COMPLETE:
        error, latency_ms = earlier.values
        return error, latency_ms
    raise TrialPruned(f"the network of trial {earlier.number}")
