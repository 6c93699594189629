"""The commented study file that `threshnet init` writes."""

import textwrap
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from search.data import DataSettings, class_counts_text, classes_to_search, training_part
from search.datasets.named import dataset_named
from search.latency.devices.device import Device
from search.latency.devices.named import device_named
from search.latency.measure import measure_on
from search.training.recipes import RECIPES
from space import SPACES
from studies.spec import StudySpec
from studies.start.keys import Key, study_keys, toml
from threshnet.named import NAMED

WIDTH = 100  # maximum length of a line of comments
FITS = "threshnet28"  # the suggested latency limit is set by this network
LIMIT_FACTOR = 1.25  # ratio of the suggested limit to the latency of this network
LARGE = 64  # input size in pixels for images whose median side is at least as long; the others get SMALL
SMALL = 32
CPU_TRAIN, CPU_VALIDATION = 10_000, 2_500  # suggested numbers of images for training on a CPU, if there are more
SAMPLED = 20  # number of images whose size is read
ALWAYS = {  # keys that are set even to their defaults, by table
    "": ("name", "trials", "input_size"),
    "space": ("base",),
    "data": ("name",),
    "training": ("recipe",),
    "latency": ("device", "runtimes"),
}
HEAD = """\
This file describes a study of ThreshNet NAS.
"threshnet launch FILE --dry-run" estimates the duration of the study on this machine.
"threshnet launch FILE" launches the study, or resumes it.

A line like #seed = 0 shows a default. Remove the # to change the value. "..." stands for a value
of the kind that follows.
"""


@dataclass(frozen=True)
class Images:
    """Facts about the images of a study, found without decoding all of them."""

    # What they are, in words.
    text: str
    # Number of images to train on. None if the data set is not on this machine yet.
    train: int | None
    # Median of the shorter sides of some images in pixels. None if it is unknown.
    side: int | None
    # A line about the files in the folder that are not images; "" if there are none.
    left_out: str = ""


def find_images(data: DataSettings) -> Images:
    """Count the images of a data set; one that would be downloaded is not read.

    Raises InputError if there are no images, if there are too few of a class, or if one of the first is damaged.
    """
    dataset = dataset_named(data.name)
    if dataset.home not in (None, Path()):
        return Images(dataset.about, None, None)
    source, counts = training_part(data)
    every = max(1, len(source.labels) // SAMPLED)
    sides = [min(source.image(index).size) for index in range(0, len(source.labels), every)]
    text = class_counts_text(classes_to_search(data), counts)
    return Images(text, sum(counts), int(np.median(sides)), source.left_out)


def suggested(name: str, data: DataSettings, images: Images, device: Device) -> StudySpec:
    """Return a spec for these images and this device, without a latency limit.

    Raises InputError if the name is invalid or if this machine does not have the device.
    """
    large = images.side is not None and images.side >= LARGE
    many = images.train is None or images.train > CPU_TRAIN  # data sets to download have more, too
    if many and not torch.cuda.is_available():
        data = replace(data, train=CPU_TRAIN, validation=CPU_VALIDATION)
    spec = StudySpec(
        name=name,
        data=data,
        input_size=LARGE if large else SMALL,
        space=SPACES["default" if large else "small-images"],
        device=device.name,
        runtimes=device.runtimes[:1],
    )
    device.check(spec.runtimes[0], spec.protocol)
    return spec


def latency_limit(spec: StudySpec, device: Device) -> float:
    """Measure a published network and return a limit in ms, with two digits, that it satisfies.

    Raises MeasurementError if the measurement fails.
    """
    network = replace(NAMED[FITS], classes=spec.space.classes)
    latency = measure_on(device, network, spec.input_size, spec.runtimes[0], spec.protocol)
    return float(f"{LIMIT_FACTOR * latency.latency_ms:.2g}")


def study_file(spec: StudySpec) -> str:
    """Return a study file of a spec that explains every key. `studies.spec.read_spec` reads the same spec from it."""
    space, recipe = SPACES[spec.space.name], RECIPES[spec.recipe.name]
    runtimes = device_named(spec.device).runtimes[:1]
    plain = StudySpec(spec.name, space=space, recipe=recipe, device=spec.device, runtimes=runtimes)
    keys = zip(study_keys(plain), study_keys(spec), strict=True)
    parts = [_comment(HEAD)]
    for table, pairs in groupby(keys, key=lambda pair: pair[0].table):
        parts += [f"[{table}]"] if table else []
        parts += [_entry(default, key) for default, key in pairs]
    return "\n\n".join(parts) + "\n"


def _entry(default: Key, key: Key) -> str:
    """Return the lines of a key: its meaning, then its value, or its default as a comment."""
    if key.default != default.default or key.name in ALWAYS.get(key.table, ()):
        return f"{_comment(key.meaning)}\n{key.name} = {toml(key.default)}"
    if key.default is None:
        return f"{_comment(key.meaning)}\n#{key.name} = ...  # {key.kind.replace('`', '')}"
    return f"{_comment(key.meaning)}\n#{key.name} = {toml(key.default)}"


def _comment(text: str) -> str:
    """Return paragraphs as lines of comments."""
    return "\n".join(f"# {line}".rstrip() for part in text.splitlines() for line in textwrap.wrap(part, WIDTH) or [""])
