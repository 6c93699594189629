"""From a study, a name or a file to a model folder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from search.data import DataSettings, load_test
from search.evaluate import error_percent
from search.records import Record
from studies.card import Story, card
from studies.environment import environment
from studies.front import title
from studies.networks import read_network
from studies.storage import reason
from studies.study import Loaded
from threshnet.checkpoint import import_original, load_weights
from threshnet.errors import InputError
from threshnet.export import Exported, export_folder
from threshnet.named import ABOUT
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


def export_trial(loaded: Loaded, number: int, folder: Path, done: Callable[[str], None]) -> tuple[Exported, Story]:
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
        trained_on=f"{loaded.spec.data.name}: {record.image_passes // loaded.spec.recipe.epochs:,} images",
        validation_error=record.error,
        test_error=test_error,
        no_test=no_test,
        latency=tuple(record.latency.values()),
        caveat=loaded.spec.caveat,
    )
    return export_model(model, folder, story, done), story


def export_network(
    network: str, weights: Path | None, size: int, classes: int | None, folder: Path, done: Callable[[str], None]
) -> tuple[Exported, Story]:
    """Export a named network or one in a JSON file, with given weights or random ones."""
    name, spec = read_network(network, classes or 10)
    model = network_weights(spec, weights)
    story = Story(
        title=name,
        origin=ABOUT[network.lower()].origin.capitalize() if network.lower() in ABOUT else f"The network of {network}",
        input_size=size,
        trained_on=f"from {weights.name}" if weights else "",
    )
    return export_model(model, folder, story, done), story


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
        "latency": [_summary(reading.to_json()) for reading in story.latency],
        "caveat": story.caveat,
        "environment": environment(),
    }
    try:
        exported = export_folder(model, story.input_size, folder, config, done)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    (folder / CARD).write_text(card(model.spec, story))
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
        return error_percent(model, load_test(data, input_size)), ""
    except InputError as error:
        return None, f" ({error})"


def _summary(latency: dict[str, object]) -> dict[str, object]:
    """A reading without its raw samples."""
    return {key: value for key, value in latency.items() if key != "samples_ms"}
