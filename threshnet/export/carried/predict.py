"""Classify images. Needs only onnxruntime, numpy and pillow.

    python predict.py cat.jpg dog.png              one line per image: file, class, probability
    python predict.py FOLDER                       the same for all images in a folder; if it has one subfolder per
                                                   class, the error rate comes last
    python predict.py FOLDER --model model_int8.onnx --json

The input size and the class names are read from config.json in the folder of this file. Images are found and converted
as in training: this file holds the one rule for both (`image_files`, `fit`).
"""

import os
import sys

if __name__ == "__main__":  # never import libraries from the folder of this file
    _here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != _here]

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy
import onnxruntime
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
# Formats that Pillow recognizes but cannot read by itself, or that contain no single picture
NOT_READ = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
SYSTEM = frozenset({"@eaDir", "#recycle", "__MACOSX", "Thumbs.db", "desktop.ini"})  # hidden without a leading dot
SIXTEEN_BITS = frozenset({"PNG", "PPM"})  # formats whose mode "I" contains 16-bit values
MAX_REASONS = 6  # number of reasons that `left_out_text` lists
BATCH = 100  # images per run
Z = 1.959964  # quantile of the normal distribution for a 95 % interval


class UnusableError(ValueError):
    """A file cannot be used; the message names it."""


def configuration(folder: str = HERE) -> dict[str, Any]:
    """Read config.json."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            config: dict[str, Any] = json.load(file)
        size, names = config["input_size"], config["classes"]
        if not (
            type(size) is int
            and 0 < size <= 1024
            and type(names) is list
            and all(isinstance(name, str) for name in names)
        ):
            raise ValueError("input_size or classes is invalid")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnusableError(f"{path}: not a model's configuration ({error})") from None
    return config


def session(path: str) -> onnxruntime.InferenceSession:
    """Load an ONNX file to run on the CPU."""
    if not os.path.isfile(path):
        raise UnusableError(f"{path}: no such model")
    try:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many types
        raise UnusableError(f"{path}: damaged or not an ONNX file ({error})") from None


def pixels(path: str, size: int) -> numpy.ndarray[Any, Any]:
    """Load an image as RGB uint8 (3, size, size): centre crop, bilinear resize with antialiasing."""
    try:
        with Image.open(path) as image:
            image.load()
            return numpy.asarray(fit(image, size)).transpose(2, 0, 1)
    except FileNotFoundError:
        raise UnusableError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises many types for a damaged file
        raise UnusableError(f"{path}: damaged or not an image ({error})") from None


def fit(image: Image.Image, size: int) -> Image.Image:
    """Convert an image to 8-bit RGB, crop its central square and resize it to (size, size), bilinear, antialiased."""
    rgb = to_rgb(image)
    return rgb if rgb.size == (size, size) else ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB: copy grey to three channels, drop transparency, and reduce integers to 8 bits.

    Raises ValueError for floating-point pixels, because their range is unknown.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels, must be integers")
    if image.mode.startswith("I"):  # Pillow's conversion would clip all values above 255 to white
        values = numpy.asarray(image).astype(numpy.int64).clip(0)
        image = Image.fromarray((values >> bits_above_8(image, values)).astype(numpy.uint8))
    if "transparency" in image.info:  # Pillow warns if a palette with transparency is converted directly to RGB
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def bits_above_8(image: Image.Image, values: numpy.ndarray[Any, Any]) -> int:
    """Return by how many bits the range of an integer image exceeds 8 bits: 0, 8, 16 or 24.

    The file does not state the range of 32-bit values, so it is the smallest of these that contains all of them.
    """
    if image.mode != "I" or image.format in SIXTEEN_BITS:
        return 8
    return next(bits for bits in (0, 8, 16, 24) if values.max(initial=0) < 1 << (8 + bits))


def logits(network: onnxruntime.InferenceSession, images: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """Logits (n, classes) for images (n, 3, size, size), uint8 or float32 in [0, 1]."""
    scaled = images.astype(numpy.float32) / 255 if images.dtype == numpy.uint8 else images
    result: numpy.ndarray[Any, Any] = network.run(["logits"], {"images": scaled})[0]
    return result


def suffixes() -> frozenset[str]:
    """Return the suffixes of the image files that Pillow reads on this machine, in lower case."""
    known = Image.registered_extensions()
    readable = {suffix for suffix, name in known.items() if name in Image.OPEN and name not in NOT_READ}
    return frozenset(readable - {".pfm"})  # floating-point pixels


def hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or belongs to an operating system."""
    return name.startswith(".") or name in SYSTEM


def image_files(folder: str) -> tuple[list[str], Counter[str]]:
    """Return the image files below a folder, sorted by path, and count the other files and folders by reason.

    Links are followed, but no folder is read twice. Raises OSError if a folder cannot be read.
    """
    found: list[str] = []
    left_out: Counter[str] = Counter()
    read: set[tuple[int, int]] = set()
    readable = suffixes()
    folders, links = [folder], list[str]()
    while folders or links:
        current = folders.pop() if folders else links.pop(0)  # links come after the folders that are really here
        state = os.stat(current)
        if (state.st_dev, state.st_ino) in read:
            left_out["reached again by a link"] += 1
            continue
        read.add((state.st_dev, state.st_ino))
        for entry in sorted(os.scandir(current), key=lambda entry: entry.name):
            suffix = os.path.splitext(entry.name)[1].lower()
            if hidden(entry.name):
                left_out["hidden"] += 1
            elif entry.is_symlink() and not os.path.exists(entry.path):  # also a link to itself
                left_out["broken link"] += 1
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)
            elif not entry.is_file():
                left_out["neither file nor folder"] += 1
            elif suffix in readable:
                found.append(entry.path)
            else:
                left_out[suffix or "without suffix"] += 1
    return sorted(found, key=lambda path: os.path.relpath(path, folder).replace(os.sep, "/")), left_out


def left_out_text(left_out: Counter[str]) -> str:
    """Describe in a line what `image_files` left out, e.g. "left out 3 files or folders: 2 .txt, 1 hidden"."""
    listed = left_out.most_common(MAX_REASONS)
    total = sum(left_out.values())
    others = total - sum(count for _, count in listed)
    parts = [f"{count} {reason}" for reason, count in listed] + ([f"{others} more"] if others else [])
    return f"left out {total} {'file or folder' if total == 1 else 'files or folders'}: {', '.join(parts)}"


def labelled_files(paths: list[str]) -> tuple[list[tuple[str, str]], Counter[str]]:
    """Return the image files in `paths`, each with its class folder ("" if it has none), and count what is left out."""
    images: list[tuple[str, str]] = []
    left_out: Counter[str] = Counter()
    for path in paths:
        if not os.path.isdir(path):
            images.append((path, ""))
            continue
        try:
            found, others = image_files(path)
        except OSError as error:
            raise UnusableError(f"{error.filename}: cannot be read ({error.strerror})") from None
        left_out += others
        for file in found:
            class_folder, _, inside = os.path.relpath(file, path).partition(os.sep)
            images.append((file, class_folder if inside else ""))
    if not images:
        reason = left_out_text(left_out) if left_out else "empty"
        raise UnusableError(f"{', '.join(paths)}: no images that Pillow reads here ({reason})")
    return images, left_out


def predictions(
    network: onnxruntime.InferenceSession, images: list[tuple[str, str]], size: int
) -> Iterator[tuple[str, str, int, float]]:
    """Yield the file, the class folder, the predicted class number and its probability for each image."""
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        out = logits(network, numpy.stack([pixels(path, size) for path, _ in batch])).astype(numpy.float64)
        probabilities = numpy.exp(out - out.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        for (path, folder), row in zip(batch, probabilities):
            yield path, folder, int(row.argmax()), float(row.max())


def interval(wrong: int, n: int) -> list[float]:
    """95 % confidence interval of an error rate, percent (Wilson score interval)."""
    share, spread = wrong / n, Z * Z / n
    middle, half = share + spread / 2, Z * math.sqrt(share * (1 - share) / n + spread / n / 4)
    return [min(100.0, max(0.0, 100 * (middle + sign * half) / (1 + spread))) for sign in (-1, 1)]


def printable(text: str) -> str:
    """Replace control characters, which a terminal could interpret."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def main() -> None:
    """Classify the images named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER")
    parser.add_argument("--model", default="model.onnx", help="ONNX file in the folder of this program, or a path")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    arguments = parser.parse_args()
    try:
        config = configuration()
        names, size = config["classes"], config["input_size"]
        images, left_out = labelled_files(arguments.images)
        if left_out:
            print(printable(left_out_text(left_out)), file=sys.stderr)
        folders = {folder for _, folder in images if folder} if names else set()
        if not folders <= set(names):
            other = sorted(folders - set(names))[0]
            print(f"no error rate: {printable(other)} is not a class of the network", file=sys.stderr)
            folders = set()
        model = arguments.model
        network = session(model if os.path.dirname(model) else os.path.join(HERE, model))
        rows, wrong, labelled = [], 0, 0
        classes = network.get_outputs()[0].shape[-1]
        if names and len(names) != classes:
            raise UnusableError(f"config.json names {len(names)} classes, the model has {classes}")
        for path, folder, number, probability in predictions(network, images, size):
            name = names[number] if names else str(number)
            if folder in folders:
                labelled, wrong = labelled + 1, wrong + (folder != name)
            if arguments.json:
                rows.append({"file": path, "class": name, "probability": probability})
            else:
                print(f"{printable(path)}\t{printable(name)}\t{probability:.3f}")
    except UnusableError as error:
        sys.exit(f"error: {printable(' '.join(str(error).split()))}")
    result: dict[str, Any] = {"predictions": rows}
    if labelled:
        percent, (low, high) = 100 * wrong / labelled, interval(wrong, labelled)
        result |= {"error_percent": percent, "images": labelled, "interval_percent": [low, high]}
    if arguments.json:
        print(json.dumps(result, indent=1))
    elif labelled:
        print(f"error {percent:.2f} % ({wrong} of {labelled} images; 95 % interval {low:.2f} to {high:.2f} %)")


if __name__ == "__main__":
    main()
