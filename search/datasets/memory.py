"""Images in memory: tensors, arrays or torch Datasets that are used like a data set with a name."""

import hashlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from search.datasets.images import Source
from threshnet.errors import InputError, shown
from threshnet.export.carried.predict import to_rgb

Part = Literal["train", "validation", "test"]
ImageSet = tuple[Tensor | NDArray[Any], Tensor | NDArray[Any] | Sequence[int]] | Dataset[Any]
"""Images and labels: a tuple (images, labels) or a map-style torch Dataset of (image, label), see ImageData."""

CHUNK = 1024  # number of images that are converted from floats at once
READ_TWICE = 8  # number of images of a Dataset that are read twice, to find random transforms
ALLOWED_PARTS = "a tuple (images, labels) or a map-style torch Dataset of (image, label)"
ALLOWED_SHAPES = "(n, 3, h, w), (n, 1, h, w) or (n, h, w)"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images in memory, for the `data` of a study.

    Each part is a tuple (images, labels) or a map-style torch Dataset of (image, label). Images (n, 3, h, w), or grey
    images (n, 1, h, w) or (n, h, w), are tensors or arrays of uint8 or of floats from 0 to 1. A Dataset may also return
    Pillow images, and its images may differ in size. Labels (n,) are the indices of the classes, as integers. Arrays
    are not copied, so do not change them later.
    """

    # Training images.
    train: ImageSet
    # Validation images. If None, they are held out from the training images.
    validation: ImageSet | None = None
    # Test images, which the search does not use. If None, exported networks have no test error.
    test: ImageSet | None = None
    # Names of the classes in the order of their labels. If None, the attribute `classes` of the Dataset if it has one,
    # otherwise "0", "1", ...
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Contents:
    """The identity of images in memory, which a study stores to recognize them."""

    # Names of the classes, in the order of their labels.
    classes: tuple[str, ...]
    # Channels, height and width of the first training image, in pixels.
    shape: tuple[int, int, int]
    # Number of images in each part, 0 for a part that is not given.
    train: int
    validation: int
    test: int
    # Hash of all pixels and labels, as hexadecimal digits.
    hash: str


@dataclass(frozen=True)
class _Held:
    """One part of the images in memory."""

    # Pixels of each image, (h, w) or (h, w, 3).
    images: NDArray[np.uint8] | list[NDArray[np.uint8]]
    labels: NDArray[np.int64]  # (n,)


_held: dict[str, Mapping[str, _Held]] = {}
"""The images in memory of this process, by hash and part."""


def hold(data: ImageData, limit_bytes: int) -> Contents:
    """Keep images for `read_memory` until the process ends, and return their identity.

    Raises InputError if the images or labels are invalid, or if the images of a Dataset need more than `limit_bytes`.
    """
    given = {"train": data.train, "validation": data.validation, "test": data.test}
    parts = {
        name: _part(images, f"data.{name}", limit_bytes)
        for name, images in given.items()
        if images is not None or name == "train"
    }
    classes = _classes(data, parts)
    first = parts["train"].images[0]
    contents = Contents(
        classes=classes,
        shape=(3 if first.ndim == 3 else 1, *first.shape[:2]),
        hash=_hash(parts),
        **{name: len(parts[name].labels) if name in parts else 0 for name in given},
    )
    _held[contents.hash] = parts
    return contents


def read_memory(path: Path, part: Part) -> Source:
    """Return one part of the images in memory; the name of `path` is their hash.

    Raises InputError if this process does not hold the images, or if they have no such part.
    """
    held = _held.get(path.name)
    if held is None:
        raise InputError(
            f"images in memory, hash {path.name}: not in this process; pass the same images again with data=..., or "
            "use a folder of images if several processes run the study"
        )
    if part not in held:
        raise InputError(f"images in memory: they have no {part} images; pass ImageData(..., {part}=(images, labels))")
    images, labels = held[part].images, held[part].labels
    return Source(labels, lambda i: Image.fromarray(np.ascontiguousarray(images[i])), "the images in memory")


def _part(images: ImageSet | None, where: str, limit_bytes: int) -> _Held:
    """Check and convert one part."""
    if isinstance(images, tuple) and len(images) == 2:
        found = _of_arrays(*images, where)
    elif isinstance(images, Dataset) and not isinstance(images, IterableDataset) and hasattr(images, "__len__"):
        found = _of_dataset(images, where, limit_bytes)
    else:
        raise InputError(f"{where} = {shown(images)}: must be {ALLOWED_PARTS}")
    if not len(found.labels):
        raise InputError(f"{where}: no images, must have at least one of each class")
    return found


def _of_arrays(images: object, labels: object, where: str) -> _Held:
    array = _array(images)
    if array is None:
        raise InputError(f"{where}: images of type {type(images).__name__}, must be a tensor or array {ALLOWED_SHAPES}")
    pixels, found = _pixels(array, where, ALLOWED_SHAPES), _labels(labels, where)
    if len(found) != len(pixels):
        raise InputError(f"{where}: {len(pixels)} images and {len(found)} labels, must be one label for each image")
    return _Held(pixels, found)


def _of_dataset(dataset: Dataset[Any], where: str, limit_bytes: int) -> _Held:
    count = len(dataset)  # type: ignore[arg-type]
    images, labels, size_bytes = [], [], 0
    for index in range(count):
        image, label = _item(dataset, index, where)
        images.append(image)
        labels.append(label)
        size_bytes += image.nbytes
        if size_bytes > limit_bytes:
            raise InputError(
                f"{where}: the first {index + 1} of {count} images fill half of the available memory; let the Dataset "
                "resize them, or use a folder of images"
            )
    for index in range(min(READ_TWICE, count)):
        if not np.array_equal(_item(dataset, index, where)[0], images[index]):
            raise InputError(
                f"{where}[{index}]: the image differs each time it is read, must be without random transforms (the "
                "recipe augments the images)"
            )
    return _Held(images, np.asarray(labels, np.int64))


def _item(dataset: Dataset[Any], index: int, where: str) -> tuple[NDArray[np.uint8], int]:
    """Return the pixels, (h, w) or (h, w, 3), and the label of one item of a Dataset."""
    where = f"{where}[{index}]"
    item = dataset[index]
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise InputError(f"{where} = {shown(item)}: must be (image, label)")
    image, label = item
    if isinstance(label, bool) or not hasattr(label, "__index__"):
        raise InputError(f"{where}: label {shown(label)}, must be an integer")
    try:
        number = operator.index(label)
    except TypeError:  # a tensor or an array of another type or shape
        raise InputError(f"{where}: label {shown(label)}, must be an integer") from None
    if number < 0:
        raise InputError(f"{where}: label {number}, must be at least 0")
    if isinstance(image, Image.Image):
        try:
            return np.asarray(image if image.mode == "L" else to_rgb(image)), number
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
    array = _array(image)
    if array is None:
        raise InputError(f"{where}: an image of type {type(image).__name__}, must be a Pillow image, tensor or array")
    return _pixels(array[None], where, "(3, h, w), (1, h, w) or (h, w)")[0], number


def _array(values: object) -> NDArray[Any] | None:
    """Return a tensor or array as an array; None for anything else."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()  # NumPy has no bfloat16
    return values if isinstance(values, np.ndarray) else None


def _pixels(images: NDArray[Any], where: str, shapes: str) -> NDArray[np.uint8]:
    """Convert images (n, 3, h, w), (n, 1, h, w) or (n, h, w) to uint8 pixels (n, h, w, 3) or (n, h, w).

    `shapes` describes the allowed shapes in messages. Arrays of uint8 are not copied.
    """
    colors = images.ndim == 4 and images.shape[1] == 3
    grey = images.ndim == 3 or (images.ndim == 4 and images.shape[1] == 1)
    if not (colors or grey) or 0 in images.shape[1:]:
        shape = images.shape if shapes.startswith("(n") else images.shape[1:]
        raise InputError(f"{where}: shape {tuple(shape)}, must be {shapes}")
    if colors:
        images = np.moveaxis(images, 1, -1)
    elif images.ndim == 4:
        images = images[:, 0]
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(f"{where}: pixels of type {images.dtype}, must be uint8 or floats from 0 to 1")
    pixels = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK].astype(np.float32)
        rounded = np.rint(part * 255)
        if not np.isfinite(rounded).all():
            raise InputError(f"{where}: a pixel is NaN or infinite, must be uint8 or floats from 0 to 1")
        if rounded.min() < 0 or rounded.max() > 255:
            raise InputError(
                f"{where}: pixels from {part.min():.3g} to {part.max():.3g}, must be uint8 or floats from 0 to 1 "
                "(without normalization)"
            )
        pixels[start : start + CHUNK] = rounded
    return pixels


def _labels(values: object, where: str) -> NDArray[np.int64]:
    """Convert labels (n,) to int64."""
    array = _array(values)
    try:
        labels = np.asarray(values) if array is None else array
    except ValueError:  # a nested list with rows of different lengths
        raise InputError(f"{where}: labels {shown(values)}, must be integers (n,)") from None
    if labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu"):
        raise InputError(f"{where}: labels {labels.shape} of type {labels.dtype}, must be integers (n,)")
    if labels.size and labels.min() < 0:
        raise InputError(f"{where}: label {labels.min()}, must be at least 0")
    return labels.astype(np.int64)


def _classes(data: ImageData, parts: Mapping[str, _Held]) -> tuple[str, ...]:
    """Return the names of the classes; raises InputError if a part lacks a class or has a label without a class."""
    given = getattr(data.train, "classes", None) if data.classes is None else data.classes
    names: tuple[str, ...] = tuple(given) if isinstance(given, tuple | list) else ()
    valid = all(isinstance(name, str) and name for name in names) and 0 < len(names) == len(set(names))
    if data.classes is not None and not valid:
        raise InputError(f"data.classes = {shown(given)}: must be a list of different names, one for each class")
    names = names if valid else ()
    count = len(names) or 1 + max(int(part.labels.max()) for part in parts.values())
    for where, part in parts.items():
        present = np.unique(part.labels)
        if present[-1] >= count:
            raise InputError(f"data.{where}: label {present[-1]}, must be below {count}, the number of classes")
        if len(present) < count:
            missing = next(label for label in range(count) if label >= len(present) or present[label] != label)
            name = f"{names[missing]!r} (label {missing})" if names else f"with label {missing}"
            raise InputError(f"data.{where}: no image of the class {name}, must have at least one of each class")
    return names or tuple(map(str, range(count)))


def _hash(parts: Mapping[str, _Held]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, part in parts.items():
        digest.update(name.encode())
        digest.update(part.labels.tobytes())
        for image in part.images:
            digest.update(repr(image.shape).encode())
            digest.update(image.tobytes())
    return digest.hexdigest()
