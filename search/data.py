"""Images for a search: a train and a validation split for choosing networks, and a test split kept away from it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from search.datasets.images import Progress, Source, decode, folder_classes, quiet, shuffled, stratified
from search.datasets.named import DATASETS
from threshnet import strict
from threshnet.errors import InputError
from threshnet.strict import OneOf, Range

__all__ = [
    "DATASETS",
    "DataSettings",
    "Progress",
    "SearchData",
    "Split",
    "class_names",
    "identity",
    "load_calibration",
    "load_search",
    "load_test",
    "quiet",
]

MAX_SEED = 2**32 - 1  # of NumPy's RandomState
Images = Annotated[int, Range(1, unit="images")]
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # bytes, or "max"; what a container may use


@dataclass(frozen=True)
class DataSettings:
    """Which images a study uses; raises InputError for a value that is not allowed."""

    # Name of the data set.
    name: Annotated[str, OneOf(DATASETS)]
    # Folder that is read: the ImageFolder tree of "folder", or where a download lies ("data" by default).
    path: Path | None = None
    # Number of training images; without it, all that the validation images leave.
    train: Images | None = None
    # Number of images held out of the training split; without it, a fifth of it.
    validation: Images | None = None
    # Seed of the stratified split and subset, 0 to 2**32 - 1.
    seed: Annotated[int, Range(0, MAX_SEED)] = 0

    def __post_init__(self) -> None:
        strict.check(self, "data")
        given = self.path is not None or DATASETS[self.name].home is not None
        strict.require(given, "data.path", self.path, f"the folder of images, which the data set {self.name!r} needs")

    @property
    def title(self) -> str:
        """What it is called in print: the data set's name, or that of the folder, without where it lies."""
        dataset = DATASETS[self.name]
        return f"the {dataset.title} {self.root.name}" if dataset.home is None else dataset.title

    @property
    def root(self) -> Path:
        """The folder that is read: `path`, or where the data set lies by default."""
        return self.path or DATASETS[self.name].home or Path()


@dataclass(frozen=True)
class Split:
    """Decoded images with their labels."""

    images: Tensor  # (n, 3, h, w) uint8, RGB
    labels: Tensor  # (n,) int64, indices into the classes

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SearchData:
    """All the images that a search may see; there is no test split in it.

    Both splits are in stratified order: their first k images hold the classes in proportion, for every k.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    mirror: bool  # a horizontal flip keeps the class
    caveat: str = ""  # to be said beside every number made with these images; empty if there is nothing to say


def identity(data: SearchData) -> dict[str, Any]:
    """Which images these are, JSON-ready: how many in each split, and a hash of their pixels and labels."""
    digest = hashlib.blake2b(digest_size=8)
    for split in (data.train, data.validation):
        digest.update(split.labels.numpy().tobytes())
        digest.update(split.images.numpy().tobytes())
    return {"train": len(data.train), "validation": len(data.validation), "hash": digest.hexdigest()}


def class_names(settings: DataSettings) -> tuple[str, ...]:
    """Name the classes in the order of their labels, from the folder names alone, without opening an image.

    Raises InputError if a folder tree has none.
    """
    classes = DATASETS[settings.name].classes
    return folder_classes(settings.root) if classes is None else classes


def load_search(
    settings: DataSettings, input_size: int, progress: Progress = quiet, memory_limit_bytes: int | None = None
) -> SearchData:
    """Load the train and validation splits, both taken out of the data set's own train part, as square images.

    The validation images depend on `seed` and `validation` alone; a smaller `train` is a prefix of a larger one.
    `memory_limit_bytes` is for the decoded images, None = half of the memory that is free now.
    Raises InputError for missing, damaged, too few or too many images.
    """
    _check_size(input_size)
    dataset = DATASETS[settings.name]
    source = dataset.read(settings.root, "train")
    train, validation = split_indices(source, settings)
    _check_memory(source, len(train) + len(validation), input_size, memory_limit_bytes)
    return SearchData(
        name=settings.name,
        classes=class_names(settings),
        train=_decode_split(source, train, input_size, "training images", progress),
        validation=_decode_split(source, validation, input_size, "validation images", progress),
        mirror=dataset.mirror,
        caveat=dataset.caveat,
    )


def load_calibration(settings: DataSettings, input_size: int, count: int, progress: Progress = quiet) -> Split:
    """Load the first `count` of the validation images of `load_search`, or all where there are fewer.

    Raises InputError as `load_search` does.
    """
    _check_size(input_size)
    source = DATASETS[settings.name].read(settings.root, "train")
    chosen = split_indices(source, settings)[1][:count]
    _check_memory(source, len(chosen), input_size, None)
    return _decode_split(source, chosen, input_size, "images to calibrate with", progress)


def load_test(
    settings: DataSettings, input_size: int, progress: Progress = quiet, memory_limit_bytes: int | None = None
) -> Split:
    """Load the whole test part, in the data set's order, at (input_size, input_size); never called while choosing.

    `memory_limit_bytes` is for the decoded images, None = half of the memory that is free now.
    Raises InputError for missing, damaged or too many images.
    """
    _check_size(input_size)
    source = DATASETS[settings.name].read(settings.root, "test")
    _check_memory(source, len(source.labels), input_size, memory_limit_bytes)
    every = np.arange(len(source.labels), dtype=np.int64)
    return _decode_split(source, every, input_size, "test images", progress)


def split_indices(source: Source, settings: DataSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose disjoint, stratified train (t,) and validation (v,) indices into `source`.

    Raises InputError if there are fewer images than asked for, or a split that would lack a class.
    """
    names = class_names(settings)
    labels, classes = source.labels, len(names)
    validation = settings.validation or max(len(labels) // 5, classes)
    for key, value in (("train", settings.train), ("validation", validation)):
        if value is not None and value < classes:
            raise InputError(f"data {key} {value}: allowed is at least one image for each of the {classes} classes")
    if (settings.train or 1) + validation > len(labels):
        asked = f"train {settings.train} + validation {validation}" if settings.train else f"validation {validation}"
        raise InputError(
            f"data {asked}: {source.where} has {len(labels)} images to train on; allowed is no more than that"
        )
    train = settings.train or len(labels) - validation
    order = shuffled(labels, settings.seed)
    chosen, rest = order[:validation], order[validation:]
    chosen_train = rest[stratified(labels[rest])][:train]
    _check_classes(names, source, chosen_train, chosen)
    return chosen_train, chosen


def _check_classes(
    names: tuple[str, ...], source: Source, train: NDArray[np.int64], validation: NDArray[np.int64]
) -> None:
    for label, name in enumerate(names):
        if not np.any(source.labels[train] == label):
            held, taken = (int(np.sum(labels == label)) for labels in (source.labels, source.labels[validation]))
            raise InputError(
                f"data class {name!r} of {source.where}: {held} images, {taken} of them for validation, leave none to "
                "train on; allowed are at least 2 images a class, or a smaller validation"
            )


def _check_size(input_size: int) -> None:
    if type(input_size) is not int or input_size <= 0:
        raise InputError(f"input size {input_size!r}: allowed is a whole number of pixels above 0")


def _check_memory(source: Source, images: int, input_size: int, limit_bytes: int | None) -> None:
    limit = available_memory_bytes() // 2 if limit_bytes is None else limit_bytes
    needed = images * 3 * input_size**2
    if needed > limit:
        raise InputError(
            f"{source.where}: {images} images at {input_size}x{input_size} need {_written(needed)} of memory; "
            f"allowed are {_written(limit)}: ask for fewer images or a smaller input"
        )


def available_memory_bytes() -> int:
    """Give the physical memory that can be had now: on Linux without swapping, inside a container's limit; else all."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        found += [int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if "MemAvailable" in line]
    if CGROUP_LIMIT.is_file() and (limit := CGROUP_LIMIT.read_text().strip()).isdigit():
        found.append(int(limit))
    return min(found)


def _written(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.3g} MB"


def _decode_split(source: Source, indices: NDArray[np.int64], size: int, what: str, progress: Progress) -> Split:
    return Split(decode(source, indices, size, what, progress), from_numpy(source.labels[indices]))
