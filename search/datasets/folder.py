"""The reader for a tree of the user's own images: train/CLASS/* and test/CLASS/*.

Which files are images, and how they become RGB pixels, is defined in threshnet.export.carried.predict, which every
exported folder contains. So training, scoring and predict.py use the same images.
"""

import hashlib
import struct
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from search.datasets.images import Source, one_line
from search.datasets.named import Part
from threshnet.errors import InputError
from threshnet.export.carried.predict import hidden, image_files, left_out_text, to_rgb

FORM = "must be a folder with train/CLASS/* and test/CLASS/*"

# Exceptions that Pillow raises for a damaged file: usually OSError, others for damaged headers of some formats
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


def read_folder(path: Path, part: Part) -> Source:
    """List the images in the class folders of `path`/train or `path`/test without opening the images.

    Raises InputError if a folder is missing or cannot be read, a class has no images, two class names look the same, or
    the classes of train and test differ.
    """
    classes = folder_classes(path)
    # A search reads no test images, but class folders of the test part must be the same.
    found = _class_folders(path, part) if part == "test" else _folders(path / "test")
    for name in sorted({*classes} ^ {*found}) if found else ():
        lacks, has = ("test", "train") if name in classes else ("train", "test")
        written = _written(name, {*classes, *found})
        raise InputError(f"data path {path}: class {written} is in {has}/ but not in {lacks}/, must be in both")
    of_class, left_out = _images_by_class(path / part)
    empty = next((name for name in classes if name not in of_class), None)
    if empty is not None:
        reason = left_out_text(left_out) if left_out else "it is empty"
        raise InputError(f"data path {path / part / empty}: a class without images that Pillow reads here ({reason})")
    files = tuple(file for name in classes for file in of_class[name])
    labels = np.repeat(np.arange(len(classes)), [len(of_class[name]) for name in classes]).astype(np.int64)
    text = f"{path / part}: {left_out_text(left_out)}" if left_out else ""
    return Source(labels, lambda i: _open_image(files[i]), str(path / part), files, text)


def folder_classes(path: Path) -> tuple[str, ...]:
    """Return the sorted names of the class folders in `path`/train.

    Raises InputError if there are none, or if two names look the same because they differ in their Unicode form only.
    """
    classes = _class_folders(path, "train")
    for name in classes:
        if len(_alike(name, classes)) > 1:
            same = " and ".join(map(ascii, _alike(name, classes)))
            raise InputError(f"data path {path / 'train'}: the classes {same} look the same; rename one of them")
    return classes


def copies(files: Iterable[Path], others: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Return the pairs of a file and one of `others` with the same content, sorted; only the first of equal others."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for other in others:
        by_size[other.stat().st_size].append(other)
    by_content: dict[int, dict[bytes, Path]] = {}
    found: list[tuple[Path, Path]] = []
    for file in files:
        size = file.stat().st_size
        if size not in by_size:
            continue
        if size not in by_content:
            by_content[size] = {_content(other): other for other in reversed(by_size[size])}
        same = by_content[size].get(_content(file))
        found += [(file, same)] if same else []
    return sorted(found)


def copies_text(of_part: str, files: Iterable[Path], of_other: str, others: Iterable[Path]) -> str:
    """Describe in a line how many of the images of a part are also in another part; "" if none is."""
    found = copies(files, others)
    if not found:
        return ""
    number, (file, other) = len(found), found[0]
    are = "image is" if number == 1 else "images are"
    return f"{number} {of_part} {are} also among the {of_other} images, e.g. {file} = {other}"


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2b").digest()


def _class_folders(path: Path, part: Part) -> tuple[str, ...]:
    if not path.is_dir():
        raise InputError(f"data path {path}: no such folder, {FORM}")
    if not (path / part).is_dir():
        raise InputError(f"data path {path}: has no folder {part}/, {FORM}")
    classes = _folders(path / part)
    if not classes:
        raise InputError(f"data path {path / part}: no classes, must have one folder of images per class")
    return classes


def _folders(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the folders in a folder that are not hidden; none if it is not a folder."""
    try:
        entries = [*folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"data path {folder}: cannot be read ({error.strerror})") from None
    return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not hidden(entry.name)))


def _images_by_class(folder: Path) -> tuple[dict[str, list[Path]], Counter[str]]:
    """Return the images below each class folder, sorted by path, and the number of other files by reason."""
    try:
        found, left_out = image_files(str(folder))
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None
    of_class: dict[str, list[Path]] = defaultdict(list)
    for file in map(Path, found):
        inside = file.relative_to(folder).parts
        if len(inside) > 1:
            of_class[inside[0]].append(file)
        else:
            left_out["outside the class folders"] += 1
    return of_class, left_out


def _alike(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that differ from a name in their Unicode form only, the name itself included."""
    return [other for other in names if unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", name)]


def _written(name: str, names: Iterable[str]) -> str:
    """Return a name in quotes, with escapes if another name looks the same."""
    return ascii(name) if len(_alike(name, names)) > 1 else repr(name)


def _open_image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
            return to_rgb(image)
    except UNREADABLE as error:
        raise InputError(f"image {file}: {one_line(error)}; must be an intact image that Pillow can read") from error
