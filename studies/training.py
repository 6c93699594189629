"""`threshnet train`: one network, the whole training split, resumable after every epoch."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from search.checkpoints import load_training, save_training
from search.data import DATASETS, DataSettings, Split, class_names, identity, load_search, load_test
from search.evaluate import error_percent
from search.latency.lease import shared
from search.recipes import recipe_named
from search.train import Training, memory_errors
from studies.card import Story
from studies.networks import read_network
from studies.progress import Screen
from studies.ship import export_model
from threshnet.errors import InputError
from threshnet.export import WEIGHTS
from threshnet.network import ThreshNet, build
from threshnet.shapes import walk

CHECKPOINT = "checkpoint.pt"  # the training under way; only ever read back with weights_only
HISTORY = "history.json"


def data_settings(data: str) -> DataSettings:
    """The data set of that name, or the ImageFolder tree at that path."""
    if data in DATASETS and data != "folder":
        return DataSettings(data)
    if Path(data).is_dir():
        return DataSettings("folder", Path(data))
    names = ", ".join(name for name in DATASETS if name != "folder")
    raise InputError(f"no data {data!r}: neither a folder nor one of {names}")


def train_network(
    network: str,
    data: str,
    recipe_name: str,
    epochs: int | None,
    seed: int,
    size: int,
    output: Path,
    screen: Screen,
) -> Iterator[str]:
    """Train and export a network to `output`; yields a line per epoch and one with the test error.

    InputError for what cannot be used, TrainingFailed where the training gives no score.
    """
    settings = data_settings(data)
    classes = class_names(settings)
    given = read_network(network, len(classes))
    title, spec = given.title, given.spec
    if spec.classes != len(classes):
        raise InputError(f"{network} has {spec.classes} classes, {data} has {len(classes)}")
    walk(spec, size)  # refuses a size that is too small before any image is read
    recipe = recipe_named(recipe_name)
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    if (output / WEIGHTS).exists() and not (output / CHECKPOINT).exists():
        raise InputError(f"{output} already holds a model; choose another output folder")
    images = load_search(settings, size, screen.loading)
    test = load_test(settings, size, screen.loading)  # scored at the end; read now, so that it is known to be there
    conditions = {
        "network": spec.fingerprint(),
        "recipe": asdict(recipe),
        "seed": seed,
        "input size": size,
        "data": {**identity(images), "classes": list(classes), "flip": images.mirror},
    }
    # Nothing is chosen here, so the validation images serve the training as well.
    whole = Split(*(torch.cat(parts) for parts in zip(_parts(images.train), _parts(images.validation), strict=True)))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{output}: cannot be written ({problem.strerror})") from None
    with memory_errors():
        training = Training(partial(build, spec), whole, recipe, flip=images.mirror, seed=seed)
        yield from _resume(training, output / CHECKPOINT, conditions)
        while not training.finished:
            number = len(training.epochs) + 1
            epoch = training.step_epoch(partial(screen.epoch, number), shared)
            save_training(training, output / CHECKPOINT, conditions)
            yield f"epoch {epoch.number:>3} of {recipe.epochs}  loss {epoch.loss:.4f}  {epoch.seconds:.1f} s"
    model = training.result()
    error = error_percent(model, test, shared)
    story = Story(
        title=title,
        origin=f"Trained by `threshnet train`, seed {seed}",
        input_size=size,
        classes=classes,
        recipe=recipe,
        trained_on=f"{len(whole):,} images of {settings.name}",
        test_error=error,
        caveat=images.caveat,
    )
    export_model(model, output, story, lambda file: None)
    (output / HISTORY).write_text(json.dumps([asdict(epoch) for epoch in training.epochs], indent=2) + "\n")
    (output / CHECKPOINT).unlink()
    yield f"{title}: test error {error:.2f} % after {recipe.epochs} epochs of {len(whole):,} images; files in {output}"


def _parts(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    return split.images, split.labels


def _resume(training: Training[ThreshNet], file: Path, conditions: dict[str, Any]) -> Iterator[str]:
    if file.exists():
        load_training(training, file, conditions)
        yield f"going on after epoch {len(training.epochs)}"
