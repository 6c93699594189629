"""Train one network on the whole training split and export it. The training can be resumed after every epoch."""

import json
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from search.data import DataSettings, load_search, load_test
from search.latency.devices.device import Device
from search.latency.lease import shared
from search.latency.reading import Latency
from search.records import Record
from search.training.metrics import METRICS
from search.training.recipes import Recipe
from studies.export.card import ModelInfo
from studies.export.folder import ExportedModel, export_model, spec_of, trial_record, trial_title
from studies.export.images import export_images
from studies.export.resumable import (
    Callbacks,
    check_training,
    images_identity,
    require_trainable,
    resumable_training,
    training_images,
)
from studies.export.score import Score, score_model
from studies.start.prepare import flips
from studies.study import LoadedStudy
from threshnet import strict
from threshnet.errors import InputError
from threshnet.export.folder import CONFIG, WEIGHTS, protect_readme
from threshnet.spec_file import ResolvedNetwork
from threshnet.strict import OneOf, Range

HISTORY = "history.json"


@dataclass(frozen=True)
class Assignment:
    """A network to train, with its data, recipe and seeds."""

    network: ResolvedNetwork
    data: DataSettings
    recipe: Recipe
    # The weights of the first seed are exported, even if another seed has a lower test error.
    seeds: Sequence[Annotated[int, Range(0, 2**32 - 1)]] = (0,)
    # Whether images may be flipped horizontally. None selects the default of the data set.
    flip: bool | None = None
    # The error of a study, see METRICS. With "balanced_error", the loss weights all classes equally.
    metric: Annotated[str, OneOf(METRICS)] = "error"
    # Latency readings of the network from a study.
    study_latency: tuple[Latency, ...] = ()
    caveat: str = ""

    def __post_init__(self) -> None:
        strict.check(self)
        check_training(self.recipe, self.seeds)


def trial_assignment(
    loaded: LoadedStudy, number: int, recipe: Recipe, seeds: Sequence[int], data: DataSettings | None
) -> Assignment:
    """Prepare to train the network of a trial on all training images of the study's data set, or of `data` if given.

    The study may have searched on fewer images. Its validation images are used to calibrate int8.
    """
    record, spec = trial_record(loaded, number), loaded.spec
    return Assignment(
        network=searched_network(loaded, record),
        data=data or replace(spec.dataset, train=None),
        recipe=recipe,
        seeds=seeds,
        flip=flips(spec) if data is None else None,
        metric=spec.metric,
        study_latency=tuple(record.latency.values()),
        caveat=spec.caveat if data is None else "",
    )


def train_network(
    assignment: Assignment, output: Path, callbacks: Callbacks, device: Device | None = None
) -> Generator[str, None, ExportedModel]:
    """Train a network and export it to `output`. Yields a line for each epoch and returns the exported model.

    Raises InputError for invalid input, TrainingFailed if a training gives no score, and MeasurementError if the
    latency measurement on `device` fails.
    """
    network, recipe = assignment.network, assignment.recipe
    classes = require_trainable(network, assignment.data)
    files = {seed: output / f"checkpoint-{seed}.pt" for seed in assignment.seeds}
    for file in sorted(set(output.glob("checkpoint-*.pt")) - set(files.values())):
        raise InputError(f"{file}: belongs to a training with another seed; delete it to start over")
    protect_readme(output, CONFIG)
    exported, history = (output / WEIGHTS).exists(), output / HISTORY
    if exported and history.exists():  # the export is complete, but the process was killed during clean-up
        _remove(files.values())
    if exported and not any(file.exists() for file in files.values()):
        raise InputError(f"{output} already holds a model; choose another output folder")
    images = load_search(assignment.data, network.input_size, callbacks.loading)
    test = load_test(assignment.data, network.input_size, callbacks.loading)  # read now to fail early if missing
    try:
        output.mkdir(parents=True, exist_ok=True)
        history.unlink(missing_ok=True)  # it describes the model that will be replaced
    except OSError as problem:
        raise InputError(f"{output}: cannot be written ({problem.strerror})") from None
    yield from dict.fromkeys((*images.remarks, *test.remarks))
    whole, scores, first = training_images(images, held_out=False), dict[int, Score](), None
    flip = images.flip if assignment.flip is None else assignment.flip
    for seed, file in files.items():
        training = yield from resumable_training(
            network,
            whole,
            recipe,
            seed=seed,
            metric=assignment.metric,
            data=images_identity(images, flip=flip),
            file=file,
            callbacks=callbacks,
            name=f"seed {seed}" if len(files) > 1 else "",
        )
        model = training.result(shared)
        first = first or (training, model)
        if len(files) > 1:
            scores[seed] = score_model(model, test, assignment.metric)
            yield f"seed {seed}: test error {scores[seed].text()}"
    assert first is not None
    training, model = first
    info = ModelInfo(
        title=network.title,
        origin=f"{network.origin}. Trained on the whole training split, seed {assignment.seeds[0]}",
        input_size=network.input_size,
        classes=classes,
        recipe=recipe,
        trained_on=f"{len(whole):,} images of {assignment.data.title}",
        latency=assignment.study_latency,
        seeds=scores,
        metric=assignment.metric,
        caveat="; ".join(filter(None, dict.fromkeys((assignment.caveat, images.caveat)))),
    )
    exported_model = export_model(
        model, output, info, export_images(images, test, assignment.data.title), callbacks.wrote, device
    )
    partial_history = history.with_name(HISTORY + ".partial")
    partial_history.write_text(json.dumps([asdict(epoch) for epoch in training.epochs], indent=2) + "\n")
    partial_history.replace(history)  # marks the model as complete, so the checkpoints can be removed
    _remove(files.values())
    return exported_model


def _remove(checkpoints: Iterable[Path]) -> None:
    for file in checkpoints:
        file.unlink(missing_ok=True)


def searched_network(loaded: LoadedStudy, record: Record) -> ResolvedNetwork:
    """Return the network of a trained trial. Raises InputError if it is a model of another library."""
    seen = f"{loaded.spec.recipe.epochs} epochs on {loaded.images['train']:,} images"
    error = f"to a {METRICS[loaded.spec.metric].prefix}validation error of {record.error:.2f} %"
    origin = f"Trial {record.number} of the study {loaded.spec.name}, which trained it for {seen} {error}"
    return ResolvedNetwork(trial_title(loaded, record), origin, spec_of(record), loaded.spec.input_size)
