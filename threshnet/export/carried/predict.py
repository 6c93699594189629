"""Classify images. Needs only onnxruntime, numpy and pillow.

    python predict.py cat.jpg dog.png              one line per image: file, class, probability
    python predict.py FOLDER                       the same for all images in a folder; if it has one subfolder per
                                                   class, the error rate comes last
    python predict.py FOLDER --model model_int8.onnx --json

The input size and the class names are read from config.json in the folder of this file.
"""

import os
import sys

if __name__ == "__main__":  # never import libraries from the folder of this file
    _here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != _here]

import argparse
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy
import onnxruntime
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
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
    """The image as 8-bit RGB, cropped and resized; greyscale becomes three equal channels, transparency is dropped."""
    if image.mode == "F":
        raise ValueError("floating-point pixels of unknown range")
    if image.mode.startswith("I"):  # 16-bit greyscale; Pillow's conversion would clip it to white
        image = Image.fromarray((numpy.asarray(image).astype(numpy.int64) >> 8).clip(0, 255).astype(numpy.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    image = image if image.mode == "RGB" else image.convert("RGB")
    return image if image.size == (size, size) else ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def logits(network: onnxruntime.InferenceSession, images: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """Logits (n, classes) for images (n, 3, size, size), uint8 or float32 in [0, 1]."""
    scaled = images.astype(numpy.float32) / 255 if images.dtype == numpy.uint8 else images
    result: numpy.ndarray[Any, Any] = network.run(["logits"], {"images": scaled})[0]
    return result


def image_files(paths: list[str]) -> list[tuple[str, str]]:
    """All image files in `paths`, each with its class folder, '' if it has none."""
    images = []
    for path in paths:
        if not os.path.isdir(path):
            images.append((path, ""))
            continue
        for folder, inner, names in os.walk(path, followlinks=True):
            inner.sort()
            class_folder = os.path.relpath(folder, path).split(os.sep)[0]
            chosen = sorted(name for name in names if name.lower().endswith(SUFFIXES) and name[0] != ".")
            images += [(os.path.join(folder, name), "" if class_folder == "." else class_folder) for name in chosen]
    if not images:
        raise UnusableError(f"{', '.join(paths)}: no images; their names must end in {', '.join(SUFFIXES)}")
    return images


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
        images = image_files(arguments.images)
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
