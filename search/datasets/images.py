"""Readers for the data sets that a library contains or downloads, and decoding of images."""

import fcntl
import http.client
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
from PIL import Image
from sklearn.datasets import load_digits

from search.datasets.named import Part
from threshnet.errors import InputError
from threshnet.export.carried.predict import fit

Progress = Callable[[str, int, int], None]
"""Called with (description, steps done, total steps), always from the thread that called the function."""

CHUNK = 256  # number of images that a thread decodes before it reports progress
DIGITS_SEED = 0  # seed of the train/test split of digits, which is the same for all studies


@dataclass(frozen=True)
class Source:
    """One part of a data set, with images that are not decoded yet."""

    labels: NDArray[np.int64]  # (n,), indices into the classes
    image: Callable[[int], Image.Image]  # returns the i-th image, with any size and mode; called from several threads
    where: str  # name of the data set or its folder, used in messages
    files: tuple[Path, ...] = ()  # the file of each image; empty if the images are not in files of their own
    left_out: str = ""  # a line about the files in the folder that are not images; "" if there are none


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
                f"data set {name!r}: no intact copy in {path}, and the download failed ({one_line(error)}); "
                f"put {archive} there, or use the data set 'folder' with an ImageFolder tree"
            ) from error


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
