"""Export networks from a study, by name or from a file as model folders."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search.data import DataSettings, class_names
from search.latency.devices.device import Device
from search.latency.lease import shared
from search.latency.reading import Latency
from search.records import Record
from search.training.metrics import METRICS
from studies.environment import environment
from studies.export.card import ExportResult, ModelInfo, card, seeds_text
from studies.export.images import ExportImages, images_of_study, noise
from studies.export.latency import speed_of
from studies.export.score import Score, score_model, score_onnx
from studies.export.trusted import remember
from studies.fronts.wording import title
from studies.storage import reason
from studies.study import LoadedStudy
from threshnet.checkpoint import import_original, load_library_weights, load_weights
from threshnet.errors import InputError
from threshnet.export.folder import CONFIG, INT8, PT2, README, WEIGHTS, export_folder, protect_readme, write_config
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec
from threshnet.spec_file import ResolvedNetwork


def trial_record(loaded: LoadedStudy, number: int) -> Record:
    """Return the trained trial with this number. Raises InputError if there is none."""
    found = loaded.record(number)
    trained = ", ".join(str(record.number) for record in loaded.records if record.trained)
    if found is None or not found.trained:
        state = f"is {found.state}" if found else "does not exist"
        raise InputError(f"trial {number} of study {loaded.spec.name!r} {state}; trained are {trained or 'none yet'}")
    return found


def trial_title(loaded: LoadedStudy, record: Record) -> str:
    """Return the name of a trial's network outside its study: its published name, or the study and the trial."""
    return title(record) if record.named else f"{loaded.spec.name}, trial {record.number}"


def spec_of(record: Record) -> NetworkSpec:
    """Return the network of a trained trial. Raises InputError if it is a model of another library."""
    if record.network is None:
        name = record.model.name if record.model else "unknown"
        raise InputError(
            f"trial {record.number} is {name}, a point to compare: only networks of this project can be exported or "
            "retrained"
        )
    return record.network


@dataclass(frozen=True)
class ExportedModel:
    """Information about an exported folder."""

    info: ModelInfo
    result: ExportResult
    # Why there is no test error, and remarks about the images. They are printed but not written to files, because they
    # may contain paths.
    missing: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def test_error(self) -> float | None:
        """Test error of the trained weights in percent, or None if unknown."""
        score = self.result.scores.get(WEIGHTS)
        return None if score is None else score.percent

    @property
    def balanced_test_error(self) -> float | None:
        """Balanced test error of the trained weights in percent, or None if unknown or not the study's metric."""
        score = self.result.scores.get(WEIGHTS)
        return None if score is None else score.balanced_percent

    def text(self) -> str:
        """Format the result: a summary, then lines about int8, seeds and latency, or why there is no test error."""
        info, exported = self.info, self.result.exported
        largest = max(exported.differences.values(), default=0.0)
        values = {
            f"{METRICS[info.metric].prefix}validation": info.validation_error,
            "test": self.test_error,
            "balanced test": self.balanced_test_error,
        }
        errors = [f"{kind} error {value:.2f} %" for kind, value in values.items() if value is not None]
        summary = (", ".join(errors) or info.trained_on) if info.trained_on else "untrained, random weights"
        lines = [f"{info.title}: {summary}; all fp32 files consistent within {largest:.1g}"]
        if INT8 in self.result.scores:
            lines.append(f"int8: test error {self.result.scores[INT8].text()}")
        if info.seeds:
            lines.append(f"test error over seeds: {seeds_text(info.seeds)}")
        lines += self.result.speed.lines() if self.result.speed else []
        lines += [f"no int8: {exported.int8_refused}"] if exported.int8_refused else []
        lines += [f"no test error: {self.missing}"] if self.missing else []
        lines += self.remarks
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Convert the result to JSON-ready values."""
        exported = self.result.exported
        return {
            "folder": str(exported.folder),
            "title": self.info.title,
            "trained_on": self.info.trained_on,
            "largest_differences": exported.differences,
            **_result_json(self.info, self.result),
        }


def export_trial(
    loaded: LoadedStudy, number: int, folder: Path, done: Callable[[str], None], device: Device | None = None
) -> ExportedModel:
    """Export the trained network of a trial and score it on the test split. See `export_folder` for the files."""
    record = trial_record(loaded, number)
    model = trial_weights(loaded, record)
    settings, size = loaded.spec.dataset, loaded.spec.input_size
    name = trial_title(loaded, record)
    info = ModelInfo(
        title=name,
        origin=f"Trial {record.number} of the study {loaded.spec.name}" + (f" ({name})" if record.named else ""),
        input_size=size,
        classes=loaded.classes,
        recipe=loaded.spec.recipe,
        trained_on=f"{loaded.images['train']:,} images of {settings.title}",
        validation_error=record.error,
        metric=loaded.spec.metric,
        latency=tuple(record.latency.values()),
        caveat=loaded.spec.caveat,
    )
    return export_model(model, folder, info, images_of_study(settings, size), done, device)


def export_network(
    given: ResolvedNetwork,
    weights: Path | None,
    folder: Path,
    done: Callable[[str], None],
    device: Device | None = None,
    settings: DataSettings | None = None,
) -> ExportedModel:
    """Export a network with weights from a file, or with random weights.

    If `settings` is given, weights from a file are calibrated for int8 and scored on the images of this data set.
    """
    model, size = network_weights(given.spec, weights), given.input_size
    images = ExportImages() if weights else noise(size)
    classes: tuple[str, ...] = ()
    if weights and settings:
        classes = class_names(settings)
        if len(classes) != given.spec.classes:
            raise InputError(f"{given.title} has {given.spec.classes} classes, {settings.title} has {len(classes)}")
        images = images_of_study(settings, size)
    trained_on = f"as in {weights.name}" if weights else ""
    info = ModelInfo(title=given.title, origin=given.origin, input_size=size, classes=classes, trained_on=trained_on)
    return export_model(model, folder, info, images, done, device)


def export_model(
    model: ThreshNet,
    folder: Path,
    info: ModelInfo,
    images: ExportImages,
    done: Callable[[str], None],
    device: Device | None = None,
) -> ExportedModel:
    """Export a model, score its files, measure them if `device` is given, and write the model card.

    Raises MeasurementError if the measurement fails. In that case the folder is complete except for the latencies.
    """
    config = {
        "title": info.title,
        "origin": info.origin,
        "classes": list(info.classes),
        "recipe": info.recipe.stored if info.recipe else None,
        "trained_on": info.trained_on,
        "latency": [_summary(reading) for reading in info.latency],
        "caveat": info.caveat,
        "environment": environment(),
    }

    def write(result: ExportResult) -> None:
        write_config(model, info.input_size, folder, config | _result_json(info, result))
        (folder / README).write_text(card(model.spec, info, result))

    protect_readme(folder, CONFIG)
    try:
        exported = export_folder(model, info.input_size, folder, config, images.calibration, done, shared)
        remember(folder / PT2)
        scores = dict[str, Score]()
        if images.test is not None:
            known = next(iter(info.seeds.values()), None)  # the weights of the first seed are exported
            scores[WEIGHTS] = known or score_model(model, images.test, info.metric)
            scores |= {file: score_onnx(folder / file, images.test, info.metric) for file in exported.onnx_files}
        found = ExportResult(exported, scores, images.calibrated_on)
        write(found)
        done(README)
        if device is not None:
            found = replace(found, speed=speed_of(folder, info.input_size, device))
            write(found)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    return ExportedModel(info, found, images.missing, images.test.remarks if images.test else ())


def _result_json(info: ModelInfo, result: ExportResult) -> dict[str, Any]:
    """Return errors and latencies as JSON-ready values."""
    scores, speed = result.scores, result.speed
    fp32, int8 = (scores[file].percent if file in scores else None for file in (WEIGHTS, INT8))
    pairs = speed.int8.pairs if speed and speed.int8 else ()
    return {
        "metric": info.metric,
        "validation_error_percent": info.validation_error,
        "test_error_percent": fp32,
        "int8_test_error_percent": int8,
        "test_errors": {file: score.to_json() for file, score in scores.items()},
        "test_errors_by_seed": {str(seed): score.to_json() for seed, score in info.seeds.items()},
        "int8_calibrated_on": None if result.exported.int8_refused else result.calibrated_on,
        "int8_agreement_percent": result.exported.int8_agreement,
        "int8_refused": result.exported.int8_refused,
        "measured": {file: _summary(reading) for file, reading in speed.readings.items()} if speed else {},
        "int8_against_fp32": [asdict(pair) | {"verdict": pair.verdict} for pair in pairs],
    }


def trial_weights(loaded: LoadedStudy, record: Record) -> ThreshNet:
    """Load the trained network of a trial. Raises InputError if its weights are missing or of another library."""
    spec_of(record)
    return load_weights(_weights_file(loaded, record))


def trial_module(loaded: LoadedStudy, record: Record) -> nn.Module:
    """Load the trained network or library model of a trial. Raises InputError if its weights are missing."""
    file = _weights_file(loaded, record)
    return load_library_weights(file) if record.model else load_weights(file)


def _weights_file(loaded: LoadedStudy, record: Record) -> Path:
    """Return the file with the weights of a trial. Raises InputError if it is missing."""
    file = loaded.weights / str(record.weights)
    if record.weights is None or not file.is_file():
        raise InputError(
            f"the weights of trial {record.number} are not in {loaded.weights}; "
            f"run this in the folder of the launch, or copy that folder"
        )
    return file


def network_weights(spec: NetworkSpec, weights: Path | None) -> ThreshNet:
    """Build a network with weights from a .safetensors file or an original repository's .pth file (None: random)."""
    if weights is None:
        return build(spec).eval()
    if weights.suffix == ".safetensors":
        model = load_weights(weights)
        if model.spec.fingerprint() != spec.fingerprint():
            raise InputError(f"{weights}: contains the weights of another network")
        return model
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{weights}: no such weights file") from None
    except Exception as error:  # torch raises many exception types for a damaged file
        raise InputError(f"{weights}: damaged or not a state_dict ({reason(error)})") from None
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{weights}: not a state_dict, i.e. tensors by name")
    try:
        return import_original(spec, state).float()
    except InputError as error:
        raise InputError(f"{weights}: {error}") from None


def _summary(reading: Latency) -> dict[str, object]:
    """The summary of a reading without the name of the measured machine."""
    baseline = reading.baseline and replace(reading.baseline, host="")
    return replace(reading, baseline=baseline).summary()
