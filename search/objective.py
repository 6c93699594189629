"""The objective function of a study: it measures and trains one network and records the results in the trial."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from optuna import Trial, TrialPruned
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from search import records
from search.claims import claim, latest_trials, resumable, scores
from search.data import SearchData, identity
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.latency.protocol import ConnectionLost, MeasurementError
from search.latency.reading import Latency
from search.latency.settled import settled_readings
from search.progress import Standing
from search.samplers.sampler import Policy
from search.storing import set_attributes, upload, upload_samples
from search.task import Task
from search.training.checkpoints import load_training, save_training
from search.training.train import Training, TrainingFailed, train
from space import Space, contains, effective_values, suggest
from threshnet.baselines import Architecture, LibraryModel
from threshnet.checkpoint import save_architecture
from threshnet.costs import Costs
from threshnet.counting import count_library_model
from threshnet.spec import NetworkSpec

FAILURES = (TrainingFailed, MeasurementError)  # exceptions that fail a trial but do not stop the study


class Display(Interface):
    """Shows the progress of a study; every method may raise KeyboardInterrupt."""

    def print(self, text: str) -> None:
        """Called with a sentence about the study."""

    def stage(self, number: int, text: str) -> None:
        """Called when trial `number` begins a stage; `text` describes the stage in a few words."""

    def progress(self, done: int, total: int) -> None:
        """Called during training with the number of optimizer steps done and the total number of steps."""

    def counted(self, trials: int) -> None:
        """Called with the number of trials that count towards the size of the study."""

    def standing(self, standing: Standing) -> None:
        """Called at the start of a run and after each trial with the standing of the study."""

    def finished(self, record: records.Record) -> None:
        """Called when a trial has ended."""


class NoDisplay:
    """Shows nothing."""

    def print(self, text: str) -> None:
        """Do nothing."""

    def stage(self, number: int, text: str) -> None:
        """Do nothing."""

    def progress(self, done: int, total: int) -> None:
        """Do nothing."""

    def counted(self, trials: int) -> None:
        """Do nothing."""

    def standing(self, standing: Standing) -> None:
        """Do nothing."""

    def finished(self, record: records.Record) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class StudyFolders:
    """The folders in which a study stores weights and checkpoints."""

    weights: FileSystemArtifactStore
    # Folder of the checkpoints of trainings that were stopped at a rung.
    checkpoints: Path
    # Returns a drawing of a network as SVG text: (network, input size in pixels, title) -> SVG. The drawing is stored
    # with the weights.
    draw: Callable[[NetworkSpec, int, str], str] | None = None


def scorer(
    task: Task, data: SearchData, policy: Policy, folders: StudyFolders, display: Display
) -> Callable[[Trial], tuple[float, float]]:
    """Create the objective function of a study, for Study.optimize with `catch=FAILURES`."""
    images = identity(data)

    def score(trial: Trial) -> tuple[float, float]:
        trial.set_user_attr(records.WORKER, {"host": socket.gethostname(), "pid": os.getpid()})
        try:
            return Scoring(trial, task, data, policy, folders, display, images).score()
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
        except Exception as fault:  # the network is not the cause, but e.g. a full disk or a bug, so the study stops
            trial.set_user_attr(records.REASON, f"{records.LOST}: {type(fault).__name__}: {fault}")
            raise

    return score


@dataclass(frozen=True)
class Scoring:
    """Scores the network of one trial."""

    trial: Trial
    task: Task
    data: SearchData
    policy: Policy
    folders: StudyFolders
    display: Display
    images: dict[str, Any]

    def score(self) -> tuple[float, float]:
        """Return the validation error in percent and the latency in ms; raises TrialPruned if training stops early."""
        self.display.stage(self.trial.number, "proposing")
        spec = network_of(self.trial, self.task)
        name = spec.fingerprint()
        always = records.NAMED in self.trial.user_attrs  # named networks are trained even if infeasible
        measures = records.MEASURES in self.trial.user_attrs
        earlier = latest_trials(self.trial.study).get(name)
        record_network(self.trial, self.task.space, spec)
        again = records.remeasured(self.trial.study).get(earlier.number, {}) if earlier else {}
        resumes = earlier is not None and resumable(earlier, records.verdict(earlier, again))
        if earlier and (measures or not (resumes or (always and earlier.state is TrialState.PRUNED))):
            return _duplicate(self.trial, earlier)
        rival = claim(self.trial, name, earlier)
        if rival:
            return _duplicate(self.trial, rival)
        latency_ms = self._latency_ms(spec, always, earlier, again)
        if measures:
            raise _pruned(self.trial, f"measured, {latency_ms:.3f} ms, to be trained later")
        postponed = records.POSTPONED in self.trial.user_attrs  # its latency says nothing about the front
        decision = "train" if always or resumes or postponed else self.policy.decide(self.trial.study, name)
        if decision == "never":
            self.trial.set_constraint("front", 1.0)
            raise _pruned(self.trial, f"not expected to reach the front at {latency_ms:.3g} ms")
        if decision == "later":
            raise _pruned(self.trial, f"{records.LATER}, {latency_ms:.3g} ms: another network is more promising")
        self._store_drawing(spec)
        self.display.stage(self.trial.number, f"training, {latency_ms:.2f} ms")
        return self._error_percent(spec, always), latency_ms

    def _latency_ms(
        self, spec: Architecture, always: bool, earlier: FrozenTrial | None, again: Mapping[str, Any]
    ) -> float:
        """Return the latency in ms, from the earlier trial if its measurements are complete; otherwise measure it.

        Readings of the earlier trial that were taken `again`, by backend, replace its own.

        Raises TrialPruned if a constraint is violated, unless `always` is set.
        """
        trial, task = self.trial, self.task
        costs, excess = task.counted(spec) if isinstance(spec, NetworkSpec) else counted_model(task, spec)
        if costs is not None:
            counted = {key: value for key, value in asdict(costs).items() if key != "input_size"}
            trial.set_user_attr(records.COSTS, counted)
        _check_constraints(trial, excess, always and costs is not None)
        known = records.attributes_of(earlier) if earlier else {}
        if earlier and len(known.get(records.LATENCY, {})) == len(task.runtimes):
            later = records.later_readings(earlier, again)
            latency = {backend: later.get(backend, own) for backend, own in known[records.LATENCY].items()}
            verdict = records.verdict(earlier, again)
            latency_ms = verdict.latency_ms or known[records.LATENCY_MS]
            set_attributes(trial, {records.LATENCY_MS: latency_ms, records.LATENCY: latency})
            if verdict.postponed:
                trial.set_user_attr(records.POSTPONED, known[records.POSTPONED])
            else:
                _check_constraints(trial, task.limits.of_latency(latency_ms), always)
            return latency_ms
        readings: list[Latency] = []
        began = time.monotonic()
        for runtime in task.runtimes:
            self.display.stage(trial.number, f"measuring with {runtime}")
            (reading,) = settled_readings(
                lambda protocol: (measure_on(task.device, spec, task.input_size, runtime, protocol),),  # noqa: B023
                task.protocol,
                partial(self.display.stage, trial.number),
            )
            readings.append(upload_samples(self.folders.weights, trial, reading))
            latency_ms = readings[0].latency_ms
            latency = {reading.backend: reading.to_json() for reading in readings}
            set_attributes(trial, {records.LATENCY_MS: latency_ms, records.LATENCY: latency})
            trial.set_user_attr(records.MEASURING_S, round(time.monotonic() - began, 3))
            if len(readings) == 1:
                self._check_latency(reading, always)
        return latency_ms

    def _check_latency(self, reading: Latency, always: bool) -> None:
        """Check the latency limit; raises TrialPruned if it is violated, unless `always` is set.

        A disturbed reading says nothing about the limit: above it, the network is not trained until it was measured
        again, but no constraint is violated.
        """
        excess = self.task.limits.of_latency(reading.latency_ms)
        if not reading.disturbed:
            _check_constraints(self.trial, excess, always)
            return
        self.trial.set_user_attr(records.POSTPONED, excess.get(records.LATENCY_LIMIT, True))
        if any(value > 0 for value in excess.values()) and not always:
            raise _pruned(self.trial, f"{records.UNRELIABLE}: {reading.latency_ms:.3f} ms, {reading.warnings[0]}")

    def _store_drawing(self, spec: Architecture) -> None:
        """Store a drawing of the network as an artifact, to be shown in optuna-dashboard; a library model has none."""
        if self.folders.draw is None or not isinstance(spec, NetworkSpec):
            return
        trial = self.trial
        name = trial.user_attrs.get(records.NAMED)
        title = f"Trial {trial.number} of {trial.study.study_name}" + (f": {name}" if name else "")
        try:
            svg = self.folders.draw(spec, self.task.input_size, title)
        except Exception as fault:  # the network can be trained without a drawing
            self.display.stage(trial.number, f"drawing failed: {fault}")
            return
        upload(self.folders.weights, trial, "schedule.svg", lambda file: file.write_text(svg, encoding="utf-8"))

    def _error_percent(self, spec: Architecture, always: bool) -> float:
        """Train and return the validation error in percent; raises TrialPruned if training is stopped at a rung."""
        trial, task = self.trial, self.task
        file = self.folders.checkpoints / f"{spec.fingerprint()}.pt"
        conditions = {"network": spec.fingerprint(), "recipe": task.recipe.stored, "seed": task.seed} | {
            "input size": task.input_size,
            "images": self.images,
            "flip": task.flip,
        }
        conditions |= {"metric": task.metric} if task.metric != "error" else {}  # earlier checkpoints have no metric
        errors: dict[str, float] = {}
        started: list[Training[nn.Module]] = []

        def resume(training: Training[nn.Module]) -> None:
            started.append(training)
            if file.exists():
                load_training(training, file, conditions)
            before = scores(trial.study, spec.fingerprint())
            errors.update({epochs: error for epochs, error in before.items() if int(epochs) <= len(training.epochs)})
            if errors:  # other workers read the errors while the network is in training
                set_attributes(trial, records.rung_attributes(errors))

        def should_continue(training: Training[nn.Module], error: float) -> bool:
            errors[str(len(training.epochs))] = error
            set_attributes(
                trial, records.rung_attributes(errors) | {records.IMAGE_PASSES: training.image_passes}
            )  # before the checkpoint, so that the rung is scored again if the process is interrupted in between
            save_training(training, file, conditions)
            score = f"{error:.1f} % after {len(training.epochs)} of {task.recipe.epochs} epochs"
            self.display.stage(trial.number, f"deciding, {score}")
            continues = always or self.policy.should_continue(trial.study, spec.fingerprint())
            if continues:
                self.display.stage(trial.number, f"training, {score}")
            return continues

        try:
            trained = train(
                spec,
                self.data.train,
                self.data.validation,
                task.recipe,
                flip=task.flip,
                seed=task.seed,
                device=task.trains_on,
                metric=task.metric,
                rungs=task.rungs,
                resume=resume,
                should_continue=should_continue,
                shared_lease=partial(shared, task.training_lease),
                progress=self.display.progress,
            )
        finally:  # failed and interrupted trainings also count towards the cost
            if started and trial.user_attrs.get(records.IMAGE_PASSES) != started[0].image_passes:
                trial.set_user_attr(records.IMAGE_PASSES, started[0].image_passes)
        done, end = len(trained.epochs), task.recipe.epochs
        epochs = [asdict(epoch) for epoch in trained.epochs]
        if done < end:
            reason = f"stopped after {done} of {end} epochs at {trained.error:.2f} %"
            set_attributes(trial, {records.EPOCHS: epochs, records.REASON: reason})
            raise TrialPruned(reason)
        artifact = upload(
            self.folders.weights,
            trial,
            "model.safetensors",
            partial(save_architecture, trained.model, spec, task.input_size),
        )
        errors[str(end)] = trained.error
        found = records.rung_attributes(errors) | {records.WEIGHTS: artifact, records.EPOCHS: epochs}
        if task.metric != "error":
            found[records.CLASS_ERRORS] = list(zip(trained.counts.wrong, trained.counts.images, strict=True))
        set_attributes(trial, found)
        file.unlink(missing_ok=True)
        return trained.error


def network_of(trial: Trial, task: Task) -> Architecture:
    """Return the network that a trial was queued with or, if there is none, the one that its parameters give."""
    attrs = trial.user_attrs
    if records.MODEL in attrs:
        return LibraryModel.from_json(attrs[records.MODEL])
    return NetworkSpec.from_json(attrs[records.NETWORK]) if records.NETWORK in attrs else suggest(task.space, trial)


def record_network(trial: Trial, space: Space, network: Architecture) -> None:
    """Store the network of a trial in its attributes; the fingerprint is stored by the claim (see claims.py)."""
    if isinstance(network, NetworkSpec):
        described = {records.SCHEDULE: records.schedule_of(network), records.NETWORK: network.to_json()}
        values = effective_values(space, network) if contains(space, network) else {}
        set_attributes(trial, values | described)


def counted_model(task: Task, model: LibraryModel) -> tuple[Costs, dict[str, float]]:
    """Return the costs of a library model and its constraints on costs, as Task.counted does for networks."""
    costs = count_library_model(model, task.input_size)
    return costs, task.limits.of_costs(costs)


def _pruned(trial: Trial, reason: str) -> TrialPruned:
    """Store the reason in the trial and return the exception that prunes the trial."""
    trial.set_user_attr(records.REASON, reason)
    return TrialPruned(reason)


def _check_constraints(trial: Trial, excess: dict[str, float], always: bool) -> None:
    """Set the constraints of the trial; raises TrialPruned if one is violated, unless `always` is set."""
    for name, value in excess.items():
        trial.set_constraint(name, value)
    violated = {name: value for name, value in excess.items() if value > 0}
    if violated and not always:
        name, value = max(violated.items(), key=lambda item: item[1])
        over = f"violates the constraint on {name} by {100 * value:.0f} %"
        raise _pruned(trial, "input too small: pooling leaves no pixels" if name == "input_size" else over)


def _duplicate(trial: Trial, earlier: FrozenTrial) -> tuple[float, float]:
    """End a duplicate trial with the outcome of the earlier trial."""
    trial.set_user_attr(records.DUPLICATE_OF, earlier.number)
    trial.set_user_attr(records.FINGERPRINT, earlier.user_attrs[records.FINGERPRINT])
    for name, value in earlier.constraints.items():
        trial.set_constraint(name, value)
    if earlier.state is TrialState.COMPLETE:
        error, latency_ms = earlier.values
        return error, latency_ms
    raise TrialPruned(f"same network as trial {earlier.number}")
