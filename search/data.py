"""The images of a study: train and validation splits for the search, and a test split that the search never uses."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, bincount, from_numpy
from torch.utils.data import Dataset

from search.datasets.folder import copies_text, folder_classes
from search.datasets.images import Progress, Source, decode, no_progress, shuffled, stratified
from search.datasets.memory import Contents, ImageData, ImageSet, hold, read_memory
from search.datasets.named import DATASETS, MEMORY, dataset_named, without_path
from threshnet import strict
from threshnet.errors import InputError, require, shown
from threshnet.export.carried.predict import printable
from threshnet.strict import OneOf, Range

__all__ = [
    "Contents",
    "Data",
    "DataSettings",
    "ImageData",
    "ImageSet",
    "Progress",
    "SearchData",
    "Split",
    "as_settings",
    "class_counts",
    "class_counts_text",
    "class_names",
    "identity",
    "load_calibration",
    "load_search",
    "load_test",
    "no_progress",
    "training_part",
]

MAX_SEED = 2**32 - 1  # maximum seed of NumPy's RandomState
Images = Annotated[int, Range(1, unit="images")]
MAX_LISTED = 5  # number of classes whose counts are listed one by one
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # memory limit of the container in bytes, or "max"


@dataclass(frozen=True)
class DataSettings:
    """The data set of a study and its splits; raises InputError if a value is invalid."""

    # Name of the data set.
    name: Annotated[str, OneOf(DATASETS)]
    # Folder of the images: the ImageFolder tree for the data set "folder", otherwise the download folder (by default
    # "data").
    path: Path | None = None
    # Number of training images. By default, all images that are not validation images.
    train: Images | None = None
    # Number of validation images, which are held out from the train part. By default, a fifth of the train part.
    validation: Images | None = None
    # Seed of the stratified split and subset, from 0 to 2**32 - 1.
    seed: Annotated[int, Range(0, MAX_SEED)] = 0
    # The identity of the images of the data set "memory". Set by `as_settings`.
    memory: Contents | None = None

    def __post_init__(self) -> None:
        strict.check(self, "data")
        in_memory = self.name == MEMORY
        passed = "another data set: images in memory are passed in Python, launch(..., data=...)"
        require(in_memory is (self.memory is not None), "data.name", self.name, passed if in_memory else repr(MEMORY))
        given = in_memory or self.path is not None or dataset_named(self.name).home is not None
        require(given, "data.path", self.path, f"the folder of images, which the data set {self.name!r} needs")

    @property
    def title(self) -> str:
        """The name of the data set in sentences; for a folder, the folder name without its path."""
        dataset = dataset_named(self.name)
        return f"the {dataset.title} {self.path.name}" if dataset.home is None and self.path else dataset.title

    @property
    def root(self) -> Path:
        """The folder of the images: `path`, or the default folder of the data set; for images in memory, their hash."""
        return Path(self.memory.hash) if self.memory else self.path or dataset_named(self.name).home or Path()


Data = DataSettings | str | Path | ImageData | ImageSet
"""A data set: its settings, its name, the path of an ImageFolder tree, or images in memory."""


def as_settings(data: Data) -> DataSettings:
    """Return the settings for a data set: a name, the path of an ImageFolder tree, or images in memory.

    Images in memory are an ImageData, a tuple (images, labels) or a map-style torch Dataset. They are kept until the
    process ends. Settings are returned unchanged. A text that is both a name and a folder is the name. Raises
    InputError for anything else and for invalid images.
    """
    if isinstance(data, DataSettings):
        return data
    if isinstance(data, str) and data in without_path():
        return DataSettings(data)
    if isinstance(data, str | Path) and data != "" and Path(data).is_dir():
        return DataSettings("folder", Path(data))
    if isinstance(data, tuple | Dataset):
        data = ImageData(data)
    if isinstance(data, ImageData):
        return DataSettings(MEMORY, memory=hold(data, available_memory_bytes() // 2))
    named = f"a folder or one of {', '.join(without_path())}"
    allowed = named if isinstance(data, str | Path) else f"(images, labels), a torch Dataset, ImageData, {named}"
    value = str(data) if isinstance(data, Path) and str(data) not in without_path() else data
    raise InputError(f"data = {shown(value)}: must be {allowed}")


@dataclass(frozen=True)
class Split:
    """Decoded images and their labels."""

    images: Tensor  # (n, 3, h, w) uint8, RGB
    labels: Tensor  # (n,) int64, indices into the classes
    remarks: tuple[str, ...] = ()  # lines about files that were left out, and about copies of training images

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SearchData:
    """All images that a search may use; the test split is not included.

    Both splits are in stratified order: for every k, the first k images have the same class proportions.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    flip: bool  # whether a horizontal flip preserves the class
    caveat: str = ""  # a note that is shown with all results on these images; "" if there is none
    remarks: tuple[str, ...] = ()  # lines about files that were left out, and about images that are in both splits


def identity(data: SearchData) -> dict[str, Any]:
    """Return the size of each split and a hash of all pixels and labels, as JSON-serializable values."""
    digest = hashlib.blake2b(digest_size=8)
    for split in (data.train, data.validation):
        digest.update(split.labels.numpy().tobytes())
        digest.update(split.images.numpy().tobytes())
    return {"train": len(data.train), "validation": len(data.validation), "hash": digest.hexdigest()}


def class_counts(data: SearchData) -> dict[str, list[int]]:
    """Return the number of images of each class in both splits, in the order of the labels."""
    splits = {"train": data.train, "validation": data.validation}
    return {key: bincount(split.labels, minlength=len(data.classes)).tolist() for key, split in splits.items()}


def class_counts_text(classes: Sequence[str], counts: Sequence[int]) -> str:
    """Describe the number of training images of each class in one line."""
    images = f"{sum(counts):,} training images"
    if len(classes) <= MAX_LISTED:
        return f"{images}: {', '.join(f'{count:,} {name}' for name, count in zip(classes, counts, strict=True))}"
    least, most = min(counts), max(counts)
    if least == most:
        return f"{images} in {len(classes)} classes, {most:,} in each"
    small, large = classes[counts.index(least)], classes[counts.index(most)]
    return f"{images} in {len(classes)} classes, from {least:,} ({small}) to {most:,} ({large})"


def training_part(settings: DataSettings) -> tuple[Source, list[int]]:
    """Return the train part of a data set, and the number of images of each class that a search would train on.

    No image is decoded. Raises InputError in the same cases as `load_search`, unless an image is damaged.
    """
    source, indices = _chosen(settings)[0]
    return source, np.bincount(source.labels[indices], minlength=len(class_names(settings))).tolist()


def class_names(settings: DataSettings) -> tuple[str, ...]:
    """Return the class names in the order of their labels, without opening any image.

    Raises InputError if a folder tree has no classes.
    """
    classes = settings.memory.classes if settings.memory else dataset_named(settings.name).classes
    return folder_classes(settings.root) if classes is None else classes


def classes_to_search(settings: DataSettings) -> tuple[str, ...]:
    """Return the class names like `class_names`; raises InputError if there are fewer than two."""
    classes = class_names(settings)
    if len(classes) < 2:
        raise InputError(f"{settings.title}: only the class {classes[0]!r}, must have two or more")
    return classes


def load_search(
    settings: DataSettings, input_size: int, progress: Progress = no_progress, memory_limit_bytes: int | None = None
) -> SearchData:
    """Load the train and validation splits from the train part of the data set, as square images.

    The validation images depend only on `seed` and `validation`. A smaller train split is a prefix of a larger one.
    `memory_limit_bytes` limits the size of the decoded images; by default, it is half of the available memory. Raises
    InputError if images are missing or damaged, or if there are too few or too many images.
    """
    _check_size(input_size)
    dataset = dataset_named(settings.name)
    train, validation = _chosen(settings)
    _check_memory(train.source, len(train.indices) + len(validation.indices), input_size, memory_limit_bytes)
    return SearchData(
        name=settings.name,
        classes=class_names(settings),
        train=_decode_split(*train, input_size, "training images", progress),
        validation=_decode_split(*validation, input_size, "validation images", progress),
        flip=dataset.flip,
        caveat=dataset.caveat,
        remarks=_remarks(train.source.left_out, "validation", validation.files, train.files),
    )


def load_calibration(settings: DataSettings, input_size: int, count: int, progress: Progress = no_progress) -> Split:
    """Load the first `count` validation images of `load_search`, or all images if there are fewer.

    Raises InputError in the same cases as `load_search`.
    """
    _check_size(input_size)
    source, indices = _chosen(settings)[1]
    _check_memory(source, len(indices[:count]), input_size, None)
    return _decode_split(source, indices[:count], input_size, "calibration images", progress)


def load_test(
    settings: DataSettings, input_size: int, progress: Progress = no_progress, memory_limit_bytes: int | None = None
) -> Split:
    """Load the test part as (input_size, input_size) images in their original order; never called by a search.

    `memory_limit_bytes` limits the size of the decoded images; by default, it is half of the available memory. Raises
    InputError if images are missing or damaged, or if there are too many images.
    """
    _check_size(input_size)
    source = dataset_named(settings.name).read(settings.root, "test")
    _check_memory(source, len(source.labels), input_size, memory_limit_bytes)
    every = np.arange(len(source.labels), dtype=np.int64)
    split = _decode_split(source, every, input_size, "test images", progress)
    if not source.files:
        return split
    try:
        train = dataset_named(settings.name).read(settings.root, "train").files
    except InputError:  # the training images are not needed for a score
        train = ()
    return replace(split, remarks=_remarks(source.left_out, "test", source.files, train))


class _Chosen(NamedTuple):
    """The images of a split."""

    source: Source
    indices: NDArray[np.int64]  # (n,) in stratified order

    @property
    def files(self) -> list[Path]:
        """The file of each image; empty if the images are not in files of their own."""
        return [self.source.files[index] for index in self.indices] if self.source.files else []


def _chosen(settings: DataSettings) -> tuple[_Chosen, _Chosen]:
    """Return the train and validation images. Validation images that were given are used as they are."""
    source = dataset_named(settings.name).read(settings.root, "train")
    if settings.memory is None or not settings.memory.validation:
        train, validation = _split(source, settings)
        return _Chosen(source, train), _Chosen(source, validation)
    held_out = read_memory(settings.root, "validation")
    return _subset(source, settings, "train"), _subset(held_out, settings, "validation")


def _remarks(left_out: str, part: str, files: Sequence[Path], train: Sequence[Path]) -> tuple[str, ...]:
    """Return lines about the files of a part: what was left out, and which images are training images, too."""
    try:
        return tuple(map(printable, filter(None, (left_out, copies_text(part, files, "training", train)))))
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None


def _subset(source: Source, settings: DataSettings, key: Literal["train", "validation"]) -> _Chosen:
    """Choose a stratified subset of a part, of the size data.`key`, by default the whole part."""
    count, classes = getattr(settings, key), len(class_names(settings))
    allowed = f"at least {classes}, the number of classes, and at most the {len(source.labels)} {key} images"
    require(count is None or classes <= count <= len(source.labels), f"data.{key}", count, allowed)
    return _Chosen(source, shuffled(source.labels, settings.seed)[:count])


def _split(source: Source, settings: DataSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose disjoint, stratified indices into `source` for the train (t,) and validation (v,) splits.

    Raises InputError if there are too few images or if a class would be missing from a split.
    """
    names = class_names(settings)
    labels, classes = source.labels, len(names)
    validation = settings.validation or max(len(labels) // 5, classes)
    for key, value in (("train", settings.train), ("validation", validation)):
        if value is not None and value < classes:
            raise InputError(f"data.{key} = {value}: must be at least one image for each of the {classes} classes")
    if (settings.train or 1) + validation > len(labels):
        held = f"the {len(labels)} training images of {source.where}"
        if settings.train is None:
            raise InputError(f"data.validation = {validation}: must be fewer than {held}")
        raise InputError(f"data.train + data.validation = {settings.train} + {validation}: must be at most {held}")
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
                f"class {name!r} of {source.where}: {held} images, of which validation takes {taken}, leave none to "
                "train on; give each class at least 2 images, or choose a smaller data.validation"
            )


def _check_size(input_size: int) -> None:
    if type(input_size) is not int or input_size <= 0:
        raise InputError(f"input size {input_size!r}: must be a whole number of pixels above 0")


def _check_memory(source: Source, images: int, input_size: int, limit_bytes: int | None) -> None:
    limit = available_memory_bytes() // 2 if limit_bytes is None else limit_bytes
    needed = images * 3 * input_size**2
    if needed > limit:
        raise InputError(
            f"{source.where}: {images} images at {input_size}x{input_size} need {_size_text(needed)} of memory, and "
            f"{_size_text(limit)} are available; use fewer images or a smaller input"
        )


def available_memory_bytes() -> int:
    """Return the available memory, within the container limit and without swapping; outside Linux, all memory."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        found += [int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if "MemAvailable" in line]
    if CGROUP_LIMIT.is_file() and (limit := CGROUP_LIMIT.read_text().strip()).isdigit():
        found.append(int(limit))
    return min(found)


def _size_text(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.3g} MB"


def _decode_split(source: Source, indices: NDArray[np.int64], size: int, what: str, progress: Progress) -> Split:
    return Split(decode(source, indices, size, what, progress), from_numpy(source.labels[indices]))
