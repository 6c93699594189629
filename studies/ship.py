"""From a study, a name or a file to a model folder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.data import DataSettings, load_test
from search.evaluate import error_percent
from search.latency.lease import shared
from search.records import Record
from studies.card import Story, card
from studies.environment import environment
from studies.front import title
from studies.networks import Given
from studies.storage import reason
from studies.study import Loaded
from threshnet.checkpoint import import_original, load_weights
from threshnet.errors import InputError
from threshnet.export import Exported, export_folder
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

CARD = "README.md"


def trial_record(loaded: Loaded, number: int) -> Record:
    """The trained trial of that number; InputError where there is none."""
    found = next((record for record in loaded.records if record.number == number), None)
    trained = ", ".join(str(record.number) for record in loaded.records if record.trained)
    if found is None or not found.trained:
        state = f"is {found.state}" if found else "does not exist"
        raise InputError(f"trial {number} of study {loaded.spec.name!r} {state}; trained are {trained or 'none yet'}")
    return found


@dataclass(frozen=True)
class Shipped:
    """An exported folder and its story."""

    exported: Exported
    story: Story

    def told(self) -> str:
        """What came of it, in a line, and why there is no test error, in another."""
        story, largest = self.story, max(self.exported.differences.values())
        errors = [
            f"{kind} error {value:.2f} %"
            for kind, value in (("validation", story.validation_error), ("test", story.test_error))
            if value is not None
        ]
        what = (", ".join(errors) or story.trained_on) if story.trained_on else "untrained, random weights"
        missing = f"\nno test error: {story.no_test}" if story.no_test else ""
        return f"{story.title}: {what}; every file agrees within {largest:.1g}{missing}"

    def to_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "folder": str(self.exported.folder),
            "title": self.story.title,
            "trained_on": self.story.trained_on,
            "validation_error_percent": self.story.validation_error,
            "test_error_percent": self.story.test_error,
            "largest_differences": self.exported.differences,
        }


def export_trial(loaded: Loaded, number: int, folder: Path, done: Callable[[str], None]) -> Shipped:
    """Export the trained network of a trial, scored on the test split; see `export_folder` for the files."""
    record = trial_record(loaded, number)
    model = trial_weights(loaded, record)
    test_error, no_test = _test_error(model, loaded.spec.data, loaded.spec.input_size)
    name = title(record) if record.named else f"{loaded.spec.name}, trial {record.number}"
    story = Story(
        title=name,
        origin=f"Trial {record.number} of the study `{loaded.spec.name}`" + (f" ({name})" if record.named else ""),
        input_size=loaded.spec.input_size,
        classes=loaded.classes,
        recipe=loaded.spec.recipe,
        trained_on=f"{loaded.images['train']:,} images of {loaded.spec.data.name}",
        validation_error=record.error,
        test_error=test_error,
        no_test=no_test,
        latency=tuple(record.latency.values()),
        caveat=loaded.spec.caveat,
    )
    return Shipped(export_model(model, folder, story, done), story)


def export_network(given: Given, weights: Path | None, size: int, folder: Path, done: Callable[[str], None]) -> Shipped:
    """Export a network that a user gave, with weights from a file or random ones."""
    model = network_weights(given.spec, weights)
    trained_on = f"as in {weights.name}" if weights else ""
    story = Story(title=given.title, origin=given.origin, input_size=size, trained_on=trained_on)
    return Shipped(export_model(model, folder, story, done), story)


def export_model(model: ThreshNet, folder: Path, story: Story, done: Callable[[str], None]) -> Exported:
    """Export a model with its card."""
    config = {
        "title": story.title,
        "origin": story.origin,
        "classes": list(story.classes),
        "recipe": asdict(story.recipe) if story.recipe else None,
        "trained_on": story.trained_on,
        "validation_error_percent": story.validation_error,
        "test_error_percent": story.test_error,
        "latency": [reading.summary() for reading in story.latency],
        "caveat": story.caveat,
        "environment": environment(),
    }
    try:
        exported = export_folder(model, story.input_size, folder, config, done)
        (folder / CARD).write_text(card(model.spec, story))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    done(CARD)
    return exported


def trial_weights(loaded: Loaded, record: Record) -> ThreshNet:
    """The trained network of a trial; InputError where its weights are gone."""
    file = loaded.weights / str(record.weights)
    if record.weights is None or not file.is_file():
        raise InputError(
            f"the weights of trial {record.number} are not in {loaded.weights}; "
            f"run this where the study was launched, or copy that folder"
        )
    return load_weights(file)


def network_weights(spec: NetworkSpec, weights: Path | None) -> ThreshNet:
    """A network with weights from a file: ours (safetensors) or an original repository's (.pth); None = random."""
    if weights is None:
        return build(spec).eval()
    if weights.suffix == ".safetensors":
        model = load_weights(weights)
        if model.spec.fingerprint() != spec.fingerprint():
            raise InputError(f"{weights}: holds the weights of another network")
        return model
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{weights}: no such weights file") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"{weights}: damaged or not a state_dict ({reason(error)})") from None
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{weights}: holds no state_dict, tensors by name")
    try:
        return import_original(spec, state).float()
    except InputError as error:
        raise InputError(f"{weights}: {error}") from None


def _test_error(model: ThreshNet, data: DataSettings, input_size: int) -> tuple[float | None, str]:
    """The error on the test split, or why there is none."""
    try:
        return error_percent(model, load_test(data, input_size), shared), ""
    except InputError as error:
        return None, str(error)
