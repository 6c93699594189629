"""Launch and load studies."""

import json
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna import Study
from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from sqlalchemy.exc import SQLAlchemyError

from search import records
from search.box import Box
from search.data import Data, Progress, SearchData, class_counts, class_counts_text, identity, no_progress
from search.datasets.named import MEMORY
from search.final import final_pass
from search.named import named_networks
from search.objective import Display, NoDisplay, StudyFolders
from search.progress import StudyProgress, progress
from search.records import Record, by_end
from search.run import OptunaCallback, Outcome, counted, run
from search.training.metrics import METRICS
from search.volume import box_of, class_images_of
from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE
from studies.environment import environment
from studies.spec import StudySpec, naming_file, stored_spec
from studies.start.prepare import Prepared, prepare
from studies.storage import open_storage, open_study, reason, shown
from threshnet.drawing import schedule_svg
from threshnet.errors import InputError, require

OBJECTIVES = ["error (%)", "latency (ms)"]
ENDS = ("enough", "spent", "plateau")  # outcomes after which the front is measured again


@dataclass(frozen=True)
class LoadedStudy:
    """A study that was read from its storage: the Optuna study, its spec and its trials."""

    study: Study
    spec: StudySpec
    records: list[records.Record]
    # Names of the classes, in the order of the logits.
    classes: tuple[str, ...]
    # The number of images in each split, and the hash of the images.
    images: dict[str, Any]
    # The conditions under which trials ran, oldest first, without duplicates.
    environments: list[dict[str, Any]]
    # Folder with the trained weights.
    weights: Path

    @property
    def trained(self) -> int:
        """The number of trained networks."""
        return sum(record.trained for record in self.records)

    @property
    def class_images(self) -> tuple[int, ...]:
        """The number of validation images of each class, 1 each if it is unknown."""
        attrs = self.study._storage.get_study_user_attrs(self.study._study_id)
        return class_images_of(attrs, self.spec.space.classes)

    def record(self, number: int) -> Record | None:
        """Return the record of the trial with this number, or None if there is no such trial."""
        return next((record for record in self.records if record.number == number), None)


def launch_study(
    spec: StudySpec | str | Path,
    storage: str = DEFAULT_STORAGE,
    *,
    data: Data | None = None,
    caveat: str = "",
    trials: int | None = None,
    budget: float | None = None,
    until_plateau: bool | None = None,
    timeout_s: float | None = None,
    runs: Path = DEFAULT_RUNS,
    callbacks: Sequence[OptunaCallback] = (),
    display: Display | None = None,
    progress: Progress = no_progress,
) -> tuple[LoadedStudy, Outcome]:
    """Create or resume a study and run it. `spec` is a spec, a TOML file or the name of a built-in spec.

    `data`, with its `caveat`, replaces the images of the spec; later launches use the same images without it. `trials`,
    `budget` (in full trainings) and `until_plateau` override the settings in the spec. The run stops after `timeout_s`
    seconds. `callbacks` are called after each trial, `display` shows the progress of trials, and `progress` that of
    reading images. Raises InputError if the spec, the storage or the data set cannot be used, or if the study was
    created with different settings.
    """
    waits = timeout_s is None or (type(timeout_s) in (int, float) and timeout_s >= 0)
    require(waits, "timeout_s", timeout_s, "a number of seconds, at least 0")
    prepared = prepare(
        spec, storage, data=data, caveat=caveat, trials=trials, budget=budget, until_plateau=until_plateau
    )
    spec, task, runs = prepared.spec, prepared.task, Path(runs)
    with naming_file(prepared.file):
        named = named_networks(spec.named, spec.space, spec.input_size)
    opened = open_storage(storage, create=True)
    folders = _study_folders(runs, spec.name)
    images = prepared.images(progress)
    try:
        study = _create(prepared, images, opened)
        if display:
            for line in (class_counts_text(images.classes, class_counts(images)["train"]), *images.remarks):
                display.print(line)
        folders = replace(folders, checkpoints=_folder(folders.checkpoints / study.user_attrs[records.STUDY]))
        if counted(study) < spec.trials:
            _note_conditions(study, task.trains_on)
        before = ended_trials(study)
        outcome = run(
            study,
            task,
            images,
            named,
            spec.sampler,
            folders,
            trials=spec.trials,
            budget=spec.budget,
            until_plateau=spec.until_plateau,
            timeout_s=timeout_s,
            callbacks=callbacks,
            display=display,
        )
        if outcome.ended in ENDS and (ended_trials(study) > before or records.FINAL_PASS in study.user_attrs):
            try:
                final_pass(study, task, folders.weights, display or NoDisplay())
            except KeyboardInterrupt:
                outcome = replace(outcome, ended="interrupted")
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise InputError(f"storage {shown(storage)!r} cannot be written: {reason(error)}") from None
    return read_study(study, runs), outcome


def ended_trials(study: Study) -> int:
    """Return the number of trials that have ended."""
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def require_trained(loaded: LoadedStudy, title: str = "") -> None:
    """Raise InputError if no network of the study is trained; `title` replaces its name in the message."""
    if not loaded.trained:
        name = title or loaded.spec.name
        raise InputError(f"study {name!r} has no trained network yet; rerun the launch command to resume it")


def load_study(name: str, storage: str = DEFAULT_STORAGE, *, runs: Path = DEFAULT_RUNS) -> LoadedStudy:
    """Load the study called `name`. Raises InputError with a list of all studies if it does not exist."""
    return read_study(open_study(storage, name), runs)


def _create(prepared: Prepared, data: SearchData, storage: optuna.storages.BaseStorage) -> Study:
    spec = prepared.spec
    study = optuna.create_study(
        storage=storage, study_name=spec.name, directions=["minimize", "minimize"], load_if_exists=True
    )
    stored = study.user_attrs.get(records.SPEC)
    if stored is None:
        if study.get_trials(deepcopy=False) or study.directions != [StudyDirection.MINIMIZE] * 2:
            raise InputError(f"study {spec.name!r} was not made by threshnet launch; choose another name")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([f"{METRICS[spec.metric].prefix}{OBJECTIVES[0]}", OBJECTIVES[1]])
    else:
        # Read and written again, an earlier version's settings have every key of this version.
        changed = _difference(stored_spec(stored, spec.space.classes).to_json(), spec.to_json())
        if changed:
            key, before, after = changed
            restore = f"set {key} = {json.dumps(before)}" if before is not None else f"remove {key}"
            if stored["data"].get("name") == MEMORY and key.startswith("data."):
                restore = "pass the images of the study again with data=..."
            raise InputError(
                f"study {spec.name!r} was launched with other settings: {key} was {before!r} and is now {after!r}; "
                f"to resume it, {restore}, or give the changed study another name"
            )
    if records.STUDY not in study.user_attrs:
        study.set_user_attr(records.STUDY, uuid.uuid4().hex)
    attrs = {records.CLASSES: list(data.classes), records.IMAGES: identity(data)}
    if any(study.user_attrs.get(key, value) != value for key, value in attrs.items()):
        raise InputError(f"study {spec.name!r} was launched with other images; give the changed study another name")
    attrs |= {records.SPEC: spec.to_json(), records.CLASS_COUNTS: class_counts(data)}
    attrs |= {} if prepared.given is None else {records.GIVEN: prepared.given}
    for key, value in attrs.items():
        study.set_user_attr(key, value)
    return study


def _note_conditions(study: Study, trains_on: str) -> None:
    """Add the conditions of this process to the recorded conditions of the study."""
    before, now = study.user_attrs.get(records.CONDITIONS, []), environment(trains_on)
    if now not in before:
        study.set_user_attr(records.CONDITIONS, [*before, now])


def _difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> tuple[str, Any, Any] | None:
    """Return the key, the old and the new value of the first setting that differs and affects results, or None."""
    # For a space, only its values matter. The training device may change: it does not affect the latencies, which are
    # measured on another device or while the lease is held. The box may change: it only affects which networks are
    # trained next, and every hypervolume is computed from the recorded errors and latencies.
    free = (
        "trials",
        "budget",
        "until_plateau",
        "named",
        "about",
        "data.path",
        "objective.box",
        "objective.max_error",
        "objective.min_latency_ms",
        "space.base",
        "space.name",
        "training.device",
    )
    for key in old | new:
        name, before, after = prefix + key, old.get(key), new.get(key)
        if before == after or name in free:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            deeper = _difference(before, after, name + ".")
            if deeper:
                return deeper
            continue
        return name, before, after
    return None


def read_study(study: Study, runs: Path = DEFAULT_RUNS) -> LoadedStudy:
    """Read a study from an open storage. Raises InputError if this project did not launch it."""
    attrs = study.user_attrs
    if records.SPEC not in attrs:
        raise InputError(f"study {study.study_name!r} was not made by threshnet launch")
    classes = tuple(attrs[records.CLASSES])
    try:
        spec = stored_spec(attrs[records.SPEC], len(classes))
    except InputError as error:
        raise InputError(f"study {study.study_name!r}: {error}") from None
    return LoadedStudy(
        study=study,
        spec=spec,
        records=records.records(study),
        classes=classes,
        images=attrs.get(records.IMAGES, {}),
        environments=attrs.get(records.CONDITIONS, []),
        weights=_weights(runs, study.study_name),
    )


def _study_folders(runs: Path, study: str) -> StudyFolders:
    """Return the folders of a study and create missing ones. Raises InputError if that fails."""
    weights, checkpoints = _folder(_weights(runs, study)), _folder(runs / study / "checkpoints")
    return StudyFolders(FileSystemArtifactStore(weights), checkpoints, draw=schedule_svg)


def _folder(folder: Path) -> Path:
    """Create a folder if it does not exist, and return it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def _weights(runs: Path, study: str) -> Path:
    return runs / study / "weights"


def backends_of(loaded: LoadedStudy) -> tuple[str, ...]:
    """Return the backends on which the trained networks of a study were measured, the objective's backend first."""
    return tuple(dict.fromkeys(backend for record in loaded.records if record.trained for backend in record.latency))


def study_box(loaded: LoadedStudy) -> Box:
    """Return the box of a study on the objective's backend. Raises ValueError if no network is measured."""
    spec = loaded.spec
    return box_of(loaded.records, spec.objective, loaded.class_images, spec.limits.latency_ms)


def ended(loaded: LoadedStudy) -> list[Record]:
    """Return the trials that have ended, in the order in which they ended."""
    return by_end(loaded.study, loaded.records)


def progress_of(loaded: LoadedStudy) -> StudyProgress:
    """Compute the progress of a study on the objective's backend. Raises ValueError if no network is trained."""
    return progress(ended(loaded), study_box(loaded))


def full_training(loaded: LoadedStudy) -> int:
    """Return the cost of fully training one network of a study, in training images processed."""
    return loaded.spec.recipe.image_passes(int(loaded.images["train"]))
