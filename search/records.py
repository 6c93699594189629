"""Records of trials: the names of the attributes of a study, and trials parsed from these attributes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from search.latency.baseline import Baseline
from search.latency.reading import Latency, rescaled_reading
from search.training.metrics import ErrorCounts
from threshnet import strict
from threshnet.baselines import Architecture, LibraryModel
from threshnet.schedules import describe
from threshnet.spec import NetworkSpec

# The user attributes of a trial.
FINGERPRINT = "fingerprint"  # hash of the network; equal networks share it
SCHEDULE = "schedule"  # the connection schedule of each block, as text
NAMED = "named"  # name of a named network; absent for a discovered network
MEASURES = "measures"  # true if the trial only measures a named network; a later trial trains it
MODEL = "model"  # a named network of torchvision or timm, {"library", "constructor", "classes"}; it has no "network"
COSTS = "costs"  # costs at the study's input size: {"params", "macs", "flops", "madd", "memory_bytes"}
LATENCY_MS = "latency_ms"  # latency objective in ms; stored as soon as it is measured
POSTPONED = "postponed"  # relative excess of a disturbed reading over the latency limit, or true without a limit
MEASURING_S = "measuring_s"  # time to measure the latency in seconds; absent if it was measured in an earlier trial
RUNGS = "rungs"  # errors at the rungs, {epochs: validation error in percent}, including rungs of earlier trials
ERROR_AFTER = "error after"  # prefix of "error after N epochs": the error at a rung, as a number that tools can plot
CLASS_ERRORS = "class_errors"  # [[misclassified, validation images]] by class; only with metric = "balanced_error"
IMAGE_PASSES = "image_passes"  # number of training images processed in this trial; an image counts once per epoch
WEIGHTS = "weights"  # artifact id of the trained weights (safetensors)
REASON = "reason"  # why the trial failed, was stopped or was not trained
DUPLICATE_OF = "duplicate_of"  # number of the earlier trial with the same network
WORKER = "worker"  # {"host", "pid"} of the process that runs the trial
CONTINUES = "continues"  # number of the stopped trial that this trial resumes, or that measured its named network
OWNER = "owner"  # true if the trial owns the claim on its network; otherwise absent
RETRY_OF = "retry_of"  # number of the interrupted or lost trial that this trial repeats
PROPOSAL = "proposal"  # {"by": sampler, "draws": n, or "among": candidates}; absent for a queued trial

# The system attributes of a trial.
NETWORK = "network"  # the network as JSON, NetworkSpec.to_json()
LATENCY = "latency"  # readings, {backend: statistics and conditions}; the reading of the first backend is the objective
EPOCHS = "epochs"  # epochs, [{"number", "loss", "seconds"}], including epochs of the trials that this trial continues

# Long values are system attributes, which tools do not show: as cells of a table they would be dozens of lines high.
# Earlier versions stored them as user attributes.
LONG = (NETWORK, LATENCY, EPOCHS)

LATENCY_LIMIT = "latency_ms"  # the constraint that applies only to the study's own backend, see space.Limits

INTERRUPTED = "interrupted"  # reason of a trial that the user stopped
UNRELIABLE = "latency unreliable"  # prefix of the reason of a network that is not trained until measured again
LATER = "measured only"  # prefix of the reason of a network that may be trained later, in another trial
UNREACHABLE = "unreachable"  # prefix of the reason of a trial whose device could not be reached
LOST = "lost"  # prefix of the reason of a trial that ended because its process died or an unexpected error occurred

# The user attributes of a study.
SPEC = "study_spec"  # the study file as JSON
STUDY = "study_id"  # unique id of the study, also the name of the folder of its checkpoints
IMAGES = "images"  # {"train": number, "validation": number, "hash": hash of the images of both splits}
GIVEN = "given_data"  # folder or data set that was given at the launch instead of the study file's; otherwise absent
CLASSES = "classes"  # names of the classes, in the order of the logits
CLASS_COUNTS = "class_counts"  # {"train": [images of each class], "validation": [images of each class]}
CONDITIONS = "environment"  # processor, threads and versions of all launches, without repetitions
FINAL_PASS = "final_pass"  # the last final pass, {"host", "pid", "since", "trials", "done": true at its end}
REMEASURED = "remeasured"  # prefix of "remeasured NUMBER BACKEND": a reading of a trial's network taken after the study

State = Literal[
    "finished", "infeasible", "stopped", "not trained", "failed", "interrupted", "duplicate", "running", "waiting"
]


@dataclass(frozen=True)
class Record:
    """A trial, parsed from its attributes."""

    number: int
    # "infeasible": trained although it violates a constraint; "not trained": pruned before training because it violates
    # a constraint or cannot reach the front; "stopped": pruned at a rung below the last rung.
    state: State
    # None if the trial has not proposed a network yet, or if it has a model.
    network: NetworkSpec | None
    named: str | None
    # Validation error in percent and latency in milliseconds. None if the network was not trained.
    error: float | None
    latency_ms: float | None
    # Readings by backend (device and runtime). The reading of the objective is first; readings that were re-measured
    # after the study are last.
    latency: dict[str, Latency]
    costs: dict[str, int]
    epochs: tuple[dict[str, float], ...]
    # Validation errors in percent at all rungs reached so far, by epochs trained.
    rungs: dict[int, float]
    # Number of training images processed in this trial. An image counts once per epoch.
    image_passes: int
    # Number of the trial that this trial continues: it was stopped at a rung, or it measured the named network.
    continues: int | None
    # Relative excess over each limit. The network is feasible if no excess is above 0.
    constraints: dict[str, float]
    reason: str | None
    weights: str | None
    fingerprint: str | None
    duplicate_of: int | None
    # Wall-clock seconds from start to end. None while the trial is running.
    seconds: float | None
    # Misclassified validation images by class. None if the metric of the study is the plain error.
    class_errors: ErrorCounts | None = None
    # A named network of torchvision or timm: a point to compare, which is not in the space and never on the front.
    model: LibraryModel | None = None
    # True if the reading was disturbed and the network was not measured again since then.
    postponed: bool = False

    @property
    def architecture(self) -> Architecture | None:
        """The network or the model of the trial."""
        return self.network or self.model

    @property
    def trained(self) -> bool:
        """True if the trial has its own values for both objectives."""
        return self.state in ("finished", "infeasible")

    @property
    def feasible(self) -> bool:
        """True if the network violates no constraint that was checked."""
        return all(excess <= 0 for excess in self.constraints.values())

    @property
    def competes(self) -> bool:
        """True if the network can be on the front: trained, feasible, reliably measured and not a model to compare."""
        return self.state == "finished" and self.model is None and not self.postponed

    @property
    def measured_only(self) -> bool:
        """True if the network was measured and may be trained later, as another network is more promising."""
        return self.state == "not trained" and (self.reason or "").startswith(LATER)

    @property
    def point(self) -> tuple[float, float]:
        """(latency in ms, error in percent); raises ValueError if the network was not trained."""
        if self.latency_ms is None or self.error is None:
            raise ValueError(f"trial {self.number} was not trained")
        return self.latency_ms, self.error

    def error_images(self, validation: int) -> int:
        """Return the number of images that determines the interval of the error, of `validation` images in the study.

        For a balanced error, this is the effective number of images, see ErrorCounts.
        """
        return self.class_errors.effective_images("balanced_error") if self.class_errors else validation

    @property
    def schedule(self) -> str:
        """The schedules of the network's blocks as text, first to last."""
        return schedule_of(self.network) if self.network else ""


def schedule_of(network: NetworkSpec) -> str:
    """The schedules of a network's blocks as text, first to last."""
    return " | ".join(describe(block.links) for block in network.blocks)


def records(study: Study) -> list[Record]:
    """Return the records of all trials of the study, sorted by number."""
    again = remeasured(study)
    read = [record(trial, again.get(trial.number, {})) for trial in study.get_trials(deepcopy=False)]
    # If the search found a named network before it was named, the trial that trained it gets the name.
    names = {one.duplicate_of: one.named for one in read if one.duplicate_of is not None and one.named}
    return [replace(one, named=one.named or names.get(one.number)) for one in read] if names else read


def remeasured(study: Study) -> dict[int, dict[str, Any]]:
    """Return the readings that may replace those of the trials, as JSON values: {trial number: {backend: reading}}.

    They were taken after the trials, or they are readings under another idle baseline than the latest one of the study,
    rescaled to the latest one, so that all latencies have one scale.
    """
    found: dict[int, dict[str, Any]] = {}
    for key, value in study._storage.get_study_user_attrs(study._study_id).items():
        if key.startswith(f"{REMEASURED} "):
            _, number, backend = key.split(" ", 2)
            found.setdefault(int(number), {})[backend] = value
    counted: dict[tuple[int, str], Mapping[str, Any]] = {}
    for trial in study.get_trials(deepcopy=False):
        readings = own_readings(trial) | later_readings(trial, found.get(trial.number, {}))
        counted.update({(trial.number, backend): data for backend, data in readings.items()})
    for (trial_number, backend), data in on_one_baseline(counted).items():
        found.setdefault(trial_number, {})[backend] = data
    return found


def on_one_baseline(readings: Mapping[tuple[int, str], Mapping[str, Any]]) -> dict[tuple[int, str], dict[str, Any]]:
    """Rescale readings, by (trial number, backend), to the latest idle baseline of their backend and processor.

    Returns the rescaled ones only. Readings with raw samples, of earlier versions, are not rescaled.
    """
    if len({data["reference_ms"] for data in readings.values()}) < 2:
        return {}
    scales = _scales(readings)
    baselines: dict[tuple[str, ...], dict[str, Any]] = {}
    ranks: dict[tuple[str, ...], tuple[bool, str, int]] = {}
    for (number, backend), data in readings.items():
        baseline = data.get("baseline") or strict.plain(Baseline(*[data["reference_ms"]] * 3))
        scale, rank = scales[number, backend], (not baseline.get("disturbed"), baseline.get("date", ""), number)
        if scale not in ranks or rank > ranks[scale]:
            ranks[scale], baselines[scale] = rank, baseline
    return {
        key: rescaled_reading(data, baselines[scales[key]])
        for key, data in readings.items()
        if "latency_ms" in data and data["reference_ms"] != baselines[scales[key]]["ms"]
    }


def _scales(readings: Mapping[tuple[int, str], Mapping[str, Any]]) -> dict[tuple[int, str], tuple[str, ...]]:
    """Return the conditions that a reading and its baseline share: backend, processor, runtime version and host.

    Readings of earlier versions do not know their host. It is known if all other readings are of one host.
    """
    known = {key: (data.get("baseline") or {}).get("host", "") for key, data in readings.items()}
    shared = {key: (key[1], data["processor"], data["runtime_version"]) for key, data in readings.items()}
    hosts: dict[tuple[str, ...], set[str]] = {}
    for key, host in known.items():
        hosts.setdefault(shared[key], set()).update(filter(None, [host]))
    scales: dict[tuple[int, str], tuple[str, ...]] = {}
    for key, host in known.items():
        only = min(hosts[shared[key]]) if len(hosts[shared[key]]) == 1 else ""
        scales[key] = (*shared[key], host or only)
    return scales


@dataclass(frozen=True)
class Verdict:
    """The latency of a trial and its constraints, by the reading that counts.

    That is an undisturbed reading that was taken again on the backend of the objective or, if there is none, the
    trial's own.
    """

    latency_ms: float | None
    constraints: dict[str, float]
    # True if the reading that counts was disturbed.
    postponed: bool

    @property
    def feasible(self) -> bool:
        """True if no constraint is violated."""
        return all(excess <= 0 for excess in self.constraints.values())


def later_readings(trial: FrozenTrial, again: Mapping[str, Any]) -> dict[str, Any]:
    """Return the readings among `again` that count, by backend: all but one of the objective that was disturbed.

    A disturbed reading of the trial itself still counts when it is rescaled.
    """
    own = next(iter(own_readings(trial)), None)
    return {
        backend: data
        for backend, data in again.items()
        if backend != own or data.get("rescaled") or not data.get("disturbed")
    }


def verdict(trial: FrozenTrial, again: Mapping[str, Any] = MappingProxyType({})) -> Verdict:
    """Return the verdict on a trial, given the readings of its network that were taken `again`, by backend.

    Optuna does not change the values of a finished trial, so everything reads the latency through this function.
    """
    attrs = attributes_of(trial)
    first_ms, postponed = attrs.get(LATENCY_MS), attrs.get(POSTPONED)
    reading = later_readings(trial, again).get(next(iter(own_readings(trial)), ""))
    if reading is None or not first_ms:
        return Verdict(first_ms, trial.constraints, postponed is not None)
    constraints, latency_ms = dict(trial.constraints), float(reading["latency_ms"])
    if reading.get("disturbed"):
        return Verdict(latency_ms, constraints, postponed=True)
    excess = constraints.get(LATENCY_LIMIT, postponed if isinstance(postponed, float) else None)
    if excess is not None:
        limit_ms = first_ms / (1 + excess)
        constraints[LATENCY_LIMIT] = latency_ms / limit_ms - 1
    return Verdict(latency_ms, constraints, postponed=False)


def stopped_at(records: Sequence[Record]) -> dict[int, int]:
    """Return the number of networks that were stopped early and never finished, by epochs trained (ascending)."""
    done = {record.fingerprint for record in records if record.trained}
    last: dict[str | None, int] = {}
    for record in records:
        if record.state == "stopped" and record.fingerprint not in done:
            last[record.fingerprint] = max(*record.rungs, last.get(record.fingerprint, 0))
    return dict(sorted(Counter(last.values()).items()))


def tally(records: Sequence[Record]) -> Counter[State]:
    """Return the number of trials in each state; "stopped" counts networks, without those that were finished later."""
    counts = Counter(record.state for record in records)
    counts["stopped"] = sum(stopped_at(records).values())
    return +counts


def by_end(study: Study, read: Sequence[Record]) -> list[Record]:
    """Return the records of the trials that have ended, in the order in which they ended."""
    times = {trial.number: trial.datetime_complete for trial in study.get_trials(deepcopy=False)}
    ended = [(time, each) for each in read if (time := times.get(each.number)) is not None]
    return [each for _, each in sorted(ended, key=lambda pair: (pair[0], pair[1].number))]


def own_readings(trial: FrozenTrial) -> dict[str, Any]:
    """Return the readings of a trial by backend, as JSON values."""
    found: dict[str, Any] = trial.system_attrs.get(LATENCY) or trial.user_attrs.get(LATENCY, {})
    return found


def attributes_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the user attributes of a trial and its system attributes with long values."""
    return {key: trial.system_attrs[key] for key in LONG if key in trial.system_attrs} | trial.user_attrs


def record(trial: FrozenTrial, remeasured: Mapping[str, Any] = MappingProxyType({})) -> Record:
    """Parse the attributes of a trial and its `remeasured` latencies, which are JSON values by backend."""
    attrs, found = attributes_of(trial), verdict(trial, remeasured)
    values: Sequence[float | None] = trial.values or (None, None)
    return Record(
        number=trial.number,
        state=_state(trial, found.constraints),
        network=NetworkSpec.from_json(attrs[NETWORK]) if NETWORK in attrs else None,
        named=attrs.get(NAMED),
        error=values[0],
        latency_ms=values[1] if trial.values is None else found.latency_ms or values[1],
        latency={
            backend: Latency.from_json(data, f"trial {trial.number}, {backend}")
            for backend, data in {**own_readings(trial), **later_readings(trial, remeasured)}.items()
        },
        costs=attrs.get(COSTS, {}),
        epochs=tuple(attrs.get(EPOCHS, ())),
        rungs={int(epochs): error for epochs, error in attrs.get(RUNGS, {}).items()},
        image_passes=attrs.get(IMAGE_PASSES, 0),
        continues=attrs.get(CONTINUES),
        constraints=found.constraints,
        reason=attrs.get(REASON),
        weights=attrs.get(WEIGHTS),
        fingerprint=attrs.get(FINGERPRINT),
        duplicate_of=attrs.get(DUPLICATE_OF),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        class_errors=ErrorCounts(*zip(*attrs[CLASS_ERRORS], strict=True)) if CLASS_ERRORS in attrs else None,
        model=LibraryModel.from_json(attrs[MODEL]) if MODEL in attrs else None,
        postponed=found.postponed,
    )


def rung_attributes(errors: Mapping[str, float]) -> dict[str, Any]:
    """Return the attributes for the validation errors in percent at the rungs; the keys are epochs trained."""
    each = {f"{ERROR_AFTER} {epochs} epoch{'' if epochs == '1' else 's'}": error for epochs, error in errors.items()}
    return each | {RUNGS: dict(errors)}


def unfinished(trial: FrozenTrial) -> bool:
    """Return whether a trial was interrupted or lost; the network is not the cause, so it may be tried again."""
    return str(trial.user_attrs.get(REASON, "")).startswith((INTERRUPTED, UNREACHABLE, LOST))


def _state(trial: FrozenTrial, constraints: Mapping[str, float]) -> State:
    if DUPLICATE_OF in trial.user_attrs:
        return "duplicate"
    match trial.state:
        case TrialState.COMPLETE:
            return "infeasible" if any(value > 0 for value in constraints.values()) else "finished"
        case TrialState.PRUNED:
            return "stopped" if RUNGS in trial.user_attrs else "not trained"
        case TrialState.FAIL:
            return "interrupted" if unfinished(trial) else "failed"
        case TrialState.RUNNING:
            return "running"
        case TrialState.WAITING:
            return "waiting"


def seen_on(record: Record, backend: str) -> Record:
    """Return a record with the latency on another backend and without the latency constraint of the study."""
    latency = record.latency[backend]
    constraints = {name: value for name, value in record.constraints.items() if name != LATENCY_LIMIT}
    trained: State = "infeasible" if any(value > 0 for value in constraints.values()) else "finished"
    return replace(
        record,
        state=trained if record.trained else record.state,
        latency_ms=latency.latency_ms,
        latency={backend: latency} | record.latency,
        constraints=constraints,
        postponed=False,
    )


def reading(record: Record) -> Latency:
    """Return the reading that determines latency_ms of a record."""
    return next(iter(record.latency.values()))
