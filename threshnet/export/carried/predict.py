"""Tell what is in images, with nothing but onnxruntime, numpy and pillow.

    python predict.py cat.jpg dog.png              a line per image: file, class, probability
    python predict.py FOLDER                       the same for the images of a folder; where it holds one folder per
                                                   class, the error comes last
    python predict.py FOLDER --model model_int8.onnx --json

What the network expects, and what its classes are called, is read from config.json beside this file.
"""

import os
import sys

if __name__ == "__main__":  # whatever lies beside this program is no library
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
BATCH = 100  # images at a time
Z = 1.959964  # standard deviations of a 95 % interval


class UnusableError(ValueError):
    """A file that cannot be used; the message names it."""


def configuration(folder: str = HERE) -> dict[str, Any]:
    """What config.json says."""
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
            raise ValueError("input_size or classes are wrong")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnusableError(f"{path}: not the description of a model ({error})") from None
    return config


def session(path: str) -> onnxruntime.InferenceSession:
    """The network of an ONNX file, to be run on the CPU."""
    if not os.path.isfile(path):
        raise UnusableError(f"{path}: no such model")
    try:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds
        raise UnusableError(f"{path}: damaged, or no ONNX file ({error})") from None


def pixels(path: str, size: int) -> numpy.ndarray[Any, Any]:
    """The centre square of an image, resized to (3, size, size) uint8 in RGB: bilinear, antialiased, not stretched."""
    try:
        with Image.open(path) as image:
            image.load()
            return numpy.asarray(fit(image, size)).transpose(2, 0, 1)
    except FileNotFoundError:
        raise UnusableError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise UnusableError(f"{path}: no whole image ({error})") from None


def fit(image: Image.Image, size: int) -> Image.Image:
    """The image as 8-bit RGB, cropped and resized; grey becomes three equal channels, transparency is dropped."""
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range nobody knows")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow alone would clip to white
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


def found(paths: list[str]) -> list[tuple[str, str]]:
    """The image files that are meant, each with the class folder it lies in, '' where it was named by itself."""
    images = []
    for path in paths:
        if not os.path.isdir(path):
            images.append((path, ""))
            continue
        for folder, inner, names in os.walk(path, followlinks=True):
            inner.sort()
            of_class = os.path.relpath(folder, path).split(os.sep)[0]
            chosen = sorted(name for name in names if name.lower().endswith(SUFFIXES) and name[0] != ".")
            images += [(os.path.join(folder, name), "" if of_class == "." else of_class) for name in chosen]
    if not images:
        raise UnusableError(f"{', '.join(paths)}: no images; they end in {', '.join(SUFFIXES)}")
    return images


def answers(
    network: onnxruntime.InferenceSession, images: list[tuple[str, str]], size: int
) -> Iterator[tuple[str, str, int, float]]:
    """For each image: its file, its folder, the class number and the probability that the network gives it."""
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        out = logits(network, numpy.stack([pixels(path, size) for path, _ in batch])).astype(numpy.float64)
        shares = numpy.exp(out - out.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        for (path, folder), row in zip(batch, shares):
            yield path, folder, int(row.argmax()), float(row.max())


def interval(wrong: int, n: int) -> list[float]:
    """The 95 % interval of an error, percent, by Wilson's formula: the images are a sample."""
    share, spread = wrong / n, Z * Z / n
    middle, half = share + spread / 2, Z * math.sqrt(share * (1 - share) / n + spread / n / 4)
    return [min(100.0, max(0.0, 100 * (middle + sign * half) / (1 + spread))) for sign in (-1, 1)]


def printable(text: str) -> str:
    """A name without what a terminal could take for a command."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def main() -> None:
    """Answer for the images that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER")
    parser.add_argument("--model", default="model.onnx", help="an ONNX file beside this program, or a path")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    asked = parser.parse_args()
    try:
        config = configuration()
        names, size = config["classes"], config["input_size"]
        images = found(asked.images)
        folders = {folder for _, folder in images if folder} if names else set()
        if not folders <= set(names):
            other = sorted(folders - set(names))[0]
            print(f"no error is told: {printable(other)} is none of the classes", file=sys.stderr)
            folders = set()
        network = session(asked.model if os.path.dirname(asked.model) else os.path.join(HERE, asked.model))
        told, wrong, known = [], 0, 0
        classes = network.get_outputs()[0].shape[-1]
        if names and len(names) != classes:
            raise UnusableError(f"config.json names {len(names)} classes, the model has {classes}")
        for path, folder, number, share in answers(network, images, size):
            name = names[number] if names else str(number)
            if folder in folders:
                known, wrong = known + 1, wrong + (folder != name)
            if asked.json:
                told.append({"file": path, "class": name, "probability": share})
            else:
                print(f"{printable(path)}\t{printable(name)}\t{share:.3f}")
    except UnusableError as error:
        sys.exit(f"error: {printable(' '.join(str(error).split()))}")
    result: dict[str, Any] = {"predictions": told}
    if known:
        low, high = interval(wrong, known)
        result |= {"error_percent": 100 * wrong / known, "images": known, "interval_percent": [low, high]}
    if asked.json:
        print(json.dumps(result, indent=1))
    elif known:
        told_error = f"{100 * wrong / known:.2f} % ({wrong} of {known} images; 95 % interval {low:.2f} to {high:.2f} %)"
        print(f"error {told_error}")


if __name__ == "__main__":
    main()
