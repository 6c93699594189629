"""One training that can be resumed after every epoch, and the images that it trains on."""

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from search.data import DataSettings, SearchData, Split, class_names, identity
from search.latency.lease import CPU, shared
from search.training.checkpoints import load_training, save_training
from search.training.recipes import RECIPES, Recipe
from search.training.train import Training, memory_errors
from threshnet.errors import InputError, require
from threshnet.network import ThreshNet, build
from threshnet.shapes import walk
from threshnet.spec_file import ResolvedNetwork


class Callbacks(Protocol):
    """Callbacks that report the progress of trainings and of an export. Each of them may raise KeyboardInterrupt."""

    def loading(self, what: str, done: int, total: int) -> None:
        """Called when `done` of `total` images have been read."""

    def training(self, text: str, done: int, total: int) -> None:
        """Called when `done` of `total` steps of an epoch have been trained; `text` names the epoch."""

    def wrote(self, file: str) -> None:
        """Called when a file of the export has been written."""


def check_training(recipe: Recipe, seeds: Sequence[int]) -> None:
    """Raise InputError unless the recipe has a known name and the seeds are different numbers, at least one."""
    require(recipe.name in RECIPES, "recipe", recipe.name, f"one of {', '.join(RECIPES)}")
    different = 0 < len(seeds) == len(set(seeds))
    require(different, "seeds", seeds, "a list of one or more different whole numbers")


def require_trainable(network: ResolvedNetwork, data: DataSettings) -> tuple[str, ...]:
    """Return the names of the classes of a data set, before any image is read.

    Raises InputError if the network has another number of classes, or if its input size is too small.
    """
    classes = class_names(data)
    if network.spec.classes != len(classes):
        raise InputError(f"{network.title} has {network.spec.classes} classes, {data.name} has {len(classes)}")
    try:
        walk(network.spec, network.input_size)
    except InputError as error:
        raise InputError(f"{network.title}: {error}") from None
    return classes


def training_images(images: SearchData, *, held_out: bool) -> Split:
    """Return the images to train on: the train split if the validation images are `held_out`, otherwise both."""
    if held_out:
        return images.train
    parts = (images.train, images.validation)
    return Split(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def images_identity(images: SearchData, *, flip: bool) -> dict[str, Any]:
    """Return what a training depends on in a data set, as JSON-serializable values."""
    return {**identity(images), "classes": list(images.classes), "flip": flip}


def resumable_training(
    network: ResolvedNetwork,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    metric: str,
    data: dict[str, Any],
    file: Path,
    callbacks: Callbacks,
    name: str = "",
    device: str = "cpu",
    lease: str = CPU,
) -> Generator[str, None, Training[ThreshNet]]:
    """Train a network with one seed. Yields a line for each epoch and returns the finished training.

    If the checkpoint `file` exists, the training resumes from it; a finished training is only restored. `data` is the
    identity of the images, with `flip`. The lines start with `name`. The training runs on the torch `device`, in short
    steps under the shared `lease` of that device. Raises InputError if the checkpoint is damaged or belongs to another
    training, and TrainingFailed if the training gives no score.
    """
    conditions = {
        "network": network.spec.fingerprint(),
        "recipe": recipe.stored,
        "seed": seed,
        "input size": network.input_size,
        "data": data,
    } | ({"metric": metric} if metric != "error" else {})
    start, flip = f"{name}, " if name else "", data["flip"]
    with memory_errors():
        make = partial(build, network.spec)
        training = Training(make, split, recipe, flip=flip, seed=seed, device=device, metric=metric)
        if file.exists():
            load_training(training, file, conditions)
            yield f"{start}resuming after epoch {len(training.epochs)}"
        while not training.finished:
            text = f"{start}epoch {len(training.epochs) + 1}"
            epoch = training.step_epoch(partial(callbacks.training, text), partial(shared, lease))
            save_training(training, file, conditions)
            yield f"{start}epoch {epoch.number:>3} of {recipe.epochs}  loss {epoch.loss:.4f}  {epoch.seconds:.1f} s"
    return training
