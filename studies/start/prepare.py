"""Check a study before its launch: its spec with all changes, and its task on this machine."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from search.data import Data, Progress, SearchData, as_settings, classes_to_search, load_search, no_progress
from search.datasets.named import dataset_named
from search.latency.devices.named import device_named
from search.task import Task
from studies.defaults import DEFAULT_STORAGE
from studies.spec import StudySpec, find_spec, naming_file, spec_file
from studies.start.earlier import earlier_networks
from studies.start.given import as_launched, given_before, record_of, stored_data
from studies.storage import find_study
from threshnet.errors import InputError, require

OTHER_IMAGES = "images from a folder, which may differ from the data set in the study's name"


@dataclass(frozen=True)
class Prepared:
    """A study that can be launched on this machine."""

    spec: StudySpec
    task: Task
    # What to record about images that were given, see studies.start.given.
    given: str | None
    # The TOML file of the spec, and that of its images, which errors name; None if there is none, or if images were
    # given.
    file: Path | None
    images_file: Path | None

    def images(self, progress: Progress = no_progress) -> SearchData:
        """Load the images of the study. Raises InputError if they cannot be used."""
        with naming_file(self.images_file):
            return load_search(self.spec.dataset, self.spec.input_size, progress)


def prepare(
    spec: StudySpec | str | Path,
    storage: str = DEFAULT_STORAGE,
    *,
    data: Data | None = None,
    caveat: str = "",
    trials: int | None = None,
    budget: float | None = None,
    until_plateau: bool | None = None,
) -> Prepared:
    """Apply the overrides of launch_study to a spec and check it, without creating anything.

    The spec gets the number of classes and the caveat of its data set. Raises InputError in the same cases as
    launch_study.
    """
    file = spec_file(str(spec)) if isinstance(spec, str | Path) else None
    found = find_spec(str(spec)) if isinstance(spec, str | Path) else spec
    allowed = "a StudySpec, a TOML file or the name of a built-in spec"
    require(isinstance(found, StudySpec), "spec", found, allowed)
    existing = find_study(storage, found.name)
    attrs = existing.user_attrs if existing else {}
    given = given_before(found, attrs) if data is None else data
    if given is not None:
        changed = with_data(found, given, caveat)
        found = as_launched(changed, found, caveat, attrs) if stored_data(attrs) else changed
    images_file = file if given is None else None
    with naming_file(images_file):
        classes = len(classes_to_search(found.dataset))
    resolved = replace(
        found,
        trials=found.trials if trials is None else trials,
        budget=found.budget if budget is None else budget,
        until_plateau=found.until_plateau if until_plateau is None else until_plateau,
        space=replace(found.space, classes=classes),
        caveat=found.caveat or dataset_named(found.dataset.name).caveat,
    )
    with naming_file(file):
        task = replace(_task(resolved), earlier=earlier_networks(resolved.prior, storage))
    return Prepared(resolved, task, None if given is None else record_of(resolved.dataset), file, images_file)


def _task(spec: StudySpec) -> Task:
    """Return the task of a resolved spec. Raises InputError if this machine cannot train or measure as specified."""
    device, trains_on = device_named(spec.device), training_device(spec.trains_on)
    for runtime in spec.runtimes:
        device.check(runtime, spec.protocol)
    return Task(
        trains_on=trains_on,
        training_lease=device_named(trains_on).lease,
        space=spec.space,
        input_size=spec.input_size,
        limits=spec.limits,
        recipe=spec.recipe,
        flip=flips(spec),
        seed=spec.seed,
        rungs=(*spec.rungs_in_use, spec.recipe.epochs),
        device=device,
        runtimes=spec.runtimes,
        protocol=spec.protocol,
        objective=spec.objective,
    )


def training_device(name: str) -> str:
    """Return the torch device for training. Raises InputError if the GPU does not exist."""
    gpus = torch.cuda.device_count()
    if name == "auto":
        return "cuda:0" if gpus else "cpu"
    number = int(name.partition(":")[2] or 0)
    if name != "cpu" and number >= gpus:
        raise InputError(f"training.device = {name!r}: torch sees {gpus} CUDA device(s) here")
    return name if name == "cpu" else f"cuda:{number}"


def with_data(spec: StudySpec, data: Data, caveat: str = "") -> StudySpec:
    """Return the spec with other images. The sizes and the seed of the splits stay, and so does the choice of flips.

    If images in memory have validation images, all of them are used. Raises InputError if there is no such data set or
    folder, or if images in memory are invalid.
    """
    given, before = as_settings(data), spec.dataset
    validation = None if given.memory and given.memory.validation else before.validation
    settings = replace(given, train=before.train, validation=validation, seed=before.seed)
    other = OTHER_IMAGES if settings.name == "folder" else ""  # other data sets have their own caveat, or none
    return replace(spec, data=settings, flip=flips(spec), caveat=caveat or other)


def flips(spec: StudySpec) -> bool:
    """True if training may flip the images horizontally."""
    return dataset_named(spec.dataset.name).flip if spec.flip is None else spec.flip
