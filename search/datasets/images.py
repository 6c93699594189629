"""Readers for the data sets, and conversion of images to RGB pixels."""

import fcntl
import http.client
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from search.datasets.named import Part
from threshnet.errors import InputError

Progress = Callable[[str, int, int], None]
"""Called with (description, steps done, total steps), always from the thread that called the function."""

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
CHUNK = 256  # number of images that a thread decodes before it reports progress
DIGITS_SEED = 0  # seed of the train/test split of digits, which is the same for all studies

# Exceptions that Pillow raises for a damaged file: usually OSError, others for damaged headers of some formats
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Source:
    """One part of a data set, with images that are not decoded yet."""

    labels: NDArray[np.int64]  # (n,), indices into the classes
    image: Callable[[int], Image.Image]  # returns the i-th image, with any size and mode; called from several threads
    where: str  # name of the data set or its folder, used in messages


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Ignore the reported progress."""


def decode(source: Source, indices: NDArray[np.int64], size: int, what: str, progress: Progress) -> torch.Tensor:
    """Decode the images at `indices` (n,) to a uint8 tensor (n, 3, size, size), using several threads.

    Raises InputError if an image cannot be decoded.
    """
    images = np.empty((len(indices), 3, size, size), np.uint8)

    def fill(start: int) -> int:
        rows = range(start, min(start + CHUNK, len(indices)))
        for row in rows:
            images[row] = np.asarray(fit(source.image(int(indices[row])), size)).transpose(2, 0, 1)
        return len(rows)

    parallel = Parallel(n_jobs=cpu_count(), backend="threading", return_as="generator_unordered")
    done = 0
    progress(what, done, len(indices))
    for count in parallel(delayed(fill)(start) for start in range(0, len(indices), CHUNK)):
        done += count
        progress(what, done, len(indices))
    return torch.from_numpy(images)


def fit(image: Image.Image, size: int) -> Image.Image:
    """Convert an image to RGB, crop its central square and resize it to (size, size), bilinear with antialiasing."""
    rgb = to_rgb(image)
    return rgb if rgb.size == (size, size) else ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB: copy grey to three channels, drop transparency, and reduce 16 bits to 8.

    Raises ValueError for floating-point pixels, because their range is unknown.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels, must be 8 or 16 bits per channel")
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would convert all values above 255 to white
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info:  # Pillow warns if a palette with transparency is converted directly to RGB
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def stratified(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order images so that every prefix has the class proportions of the whole, up to about one image per class.

    Returns indices (n,) into `labels` (n,). The r-th of the m images of a class is placed at the fraction r / m of the
    sequence, so the sequence starts with one image of each class. The order within a class does not change.
    """
    by_class = np.argsort(labels, kind="stable")
    _, first, count = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(first, count)
    order = by_class[np.lexsort((labels[by_class], rank / np.repeat(count, count)))]
    return order.astype(np.int64, copy=False)


def shuffled(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Order images at random so that every prefix is stratified, and return indices (n,) into `labels`.

    The result is the same on every machine. It uses RandomState instead of Generator, because the stream of RandomState
    never changes (NEP 19).
    """
    shuffle = np.random.RandomState(seed).permutation(len(labels)).astype(np.int64)
    return shuffle[stratified(labels[shuffle])]


def read_digits(_path: Path, part: Part) -> Source:
    """Read scikit-learn's 1,797 grey 8x8 digits; the test part is a fixed, stratified fifth of the images."""
    bunch: Any = load_digits()
    labels = bunch.target.astype(np.int64)
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # scikit-learn's pixels range from 0 to 16
    order = shuffled(labels, DIGITS_SEED)
    tests = len(order) // 5
    chosen = np.sort(order[:tests] if part == "test" else order[tests:])
    return in_memory(labels[chosen], pixels[chosen], "the digits of scikit-learn")


def read_cifar10(path: Path, part: Part) -> Source:
    """Read CIFAR-10 from `path` and download it on first use; raises InputError if the download fails."""
    data = _from_torchvision(
        "cifar10",
        lambda download: torchvision.datasets.CIFAR10(path, train=part == "train", download=download),
        path,
        f"cifar-10-python.tar.gz (from {torchvision.datasets.CIFAR10.url})",
    )
    return in_memory(np.asarray(data.targets, np.int64), data.data, f"CIFAR-10 in {path}")


def read_svhn(path: Path, part: Part) -> Source:
    """Read SVHN from `path` and download it on first use; raises InputError if the download fails."""
    url, file = torchvision.datasets.SVHN.split_list[part][:2]
    data = _from_torchvision(
        "svhn",
        lambda download: torchvision.datasets.SVHN(path, split=part, download=download),
        path,
        f"{file} (from {url})",
    )
    return in_memory(data.labels, data.data.transpose(0, 2, 3, 1), f"SVHN in {path}")


def read_folder(path: Path, part: Part) -> Source:
    """List the images in the class folders of `path`/train or `path`/test without opening the images.

    Raises InputError if a folder is missing, a class has no images, or the classes of train and test differ.
    """
    classes = folder_classes(path)
    if part == "test":
        found = _class_folders(path, part)
        for name in sorted({*classes} ^ {*found}):
            lacks, has = ("test", "train") if name in classes else ("train", "test")
            raise InputError(f"data path {path}: class {name!r} is in {has}/ but not in {lacks}/, must be in both")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        of_class = _image_files(path / part / name)
        if not of_class:
            suffixes = ", ".join(IMAGE_SUFFIXES)
            raise InputError(f"data path {path / part / name}: a class without images, must have {suffixes} files")
        files += of_class
        labels += [label] * len(of_class)
    return Source(np.asarray(labels, np.int64), lambda i: _open_image(files[i]), str(path / part))


def folder_classes(path: Path) -> tuple[str, ...]:
    """Return the sorted names of the class folders in `path`/train; raises InputError if there are none."""
    return _class_folders(path, "train")


def _class_folders(path: Path, part: Part) -> tuple[str, ...]:
    if not path.is_dir():
        raise InputError(f"data path {path}: no such folder, must be a folder with train/CLASS/* and test/CLASS/*")
    if not (path / part).is_dir():
        raise InputError(
            f"data path {path}: has no folder {part}/, must be a folder with train/CLASS/* and test/CLASS/*"
        )
    classes = sorted(f.name for f in (path / part).iterdir() if f.is_dir() and not f.name.startswith("."))
    if not classes:
        raise InputError(f"data path {path / part}: no classes, must have one folder of images per class")
    return tuple(classes)


def _image_files(folder: Path) -> list[Path]:
    """List the images below a class folder in an order that does not depend on the file system or the locale."""
    found = (f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith("."))
    return sorted((f for f in found if f.is_file()), key=lambda f: f.relative_to(folder).as_posix())


def _open_image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
            return to_rgb(image)
    except UNREADABLE as error:
        raise InputError(f"image {file}: {_one_line(error)}; must be an intact image that Pillow can read") from error


def in_memory(labels: NDArray[np.int64], pixels: NDArray[np.uint8], where: str) -> Source:
    """Create a source from decoded pixels, (n, h, w) or (n, h, w, 3)."""
    return Source(labels, lambda i: Image.fromarray(np.ascontiguousarray(pixels[i])), where)


def _from_torchvision(name: str, build: Callable[[bool], Any], path: Path, archive: str) -> Any:  # noqa: ANN401
    """Create a torchvision data set; torchvision checks the MD5 of all files, so partial downloads are never used.

    Only one process downloads, and other processes wait. The folder of a complete copy may be read-only.
    """
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 warns about the old pickles of CIFAR-10: https://github.com/numpy/numpy/pull/31177
        warnings.filterwarnings("ignore", message=r"dtype\(\): align", category=np.exceptions.VisibleDeprecationWarning)
        try:
            return build(False)
        except (OSError, RuntimeError):
            pass  # the copy is missing or incomplete
        try:
            path.mkdir(parents=True, exist_ok=True)
            with (path / f".{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return build(True)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise InputError(
                f"data set {name!r}: no intact copy in {path}, and the download failed ({_one_line(error)}); "
                f"put {archive} there, or use the data set 'folder' with an ImageFolder tree"
            ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
