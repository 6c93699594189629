"""`threshnet benchmark`: run the files of a model folder, and report their latency, size, agreement and test error.

`check_folder` verifies the folder first, and nothing is run if it finds a bad file. No program of the folder is run:
model.safetensors is loaded into the network that this project builds from config.json. A .pt2 file is opened only if it
is trusted, and it is run from a copy of the content that was found to be trusted.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

from search.data import DataSettings, Split, class_names
from search.latency.devices.cpu import Cpu
from search.latency.devices.device import Device
from search.latency.measure import measure_all
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError, Protocol
from search.latency.reading import Latency
from studies.export.check import check_folder
from studies.export.images import scoring_images
from studies.export.latency import RUNTIME
from studies.export.score import Score, score_model, score_onnx
from studies.export.trusted import is_trusted
from threshnet.checkpoint import load_weights
from threshnet.errors import InputError
from threshnet.export.folder import CONFIG, INT8, ONNX, PT2, WEIGHTS
from threshnet.spec_file import ResolvedNetwork, read_spec_file
from threshnet.untrusted import read_bytes, read_json

# The runtime of each file that is run.
RUNTIMES = {ONNX: RUNTIME, INT8: RUNTIME, WEIGHTS: "torch", PT2: "torch"}
MAX_PT2_BYTES = 2**32
JPEG_SIZE = (640, 480)  # width and height of the image that is decoded, pixels
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Times:
    """The measured times of one file."""

    # Time for one image in memory; None if it was not measured.
    latency: Latency | None = None
    # Time for one JPEG file of JPEG_SIZE: decode, resize, infer.
    from_jpeg: Latency | None = None
    # Why a time is missing, one line each.
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileBenchmark:
    """One file of a model folder: its size and what running it showed."""

    file: str
    runtime: str
    precision: Literal["fp32", "int8"]
    size_bytes: int
    times: Times
    # Agreement with the logits of model.safetensors, see FolderCheck; both are None for that file itself.
    difference: float | None = None
    same_class_percent: float | None = None
    # Error on the test split, and the balanced error if the study minimized it; None without data.
    score: Score | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON-ready values, without the raw samples of the latencies."""
        values = {name: value for name, value in vars(self).items() if name not in ("times", "score")}
        return values | {
            "latency": self.times.latency and self.times.latency.summary(),
            "from_jpeg": self.times.from_jpeg and self.times.from_jpeg.summary(),
            "problems": list(self.times.problems),
            "test_error": self.score and self.score.to_json(),
        }


def benchmark_folder(
    folder: Path, device: Device, data: DataSettings | None = None, protocol: Protocol = DEFAULT_PROTOCOL
) -> list[FileBenchmark]:
    """Run the files of a model folder: ONNX files on the device, the others in torch on this CPU.

    With `data`, each file is also scored on the test split, on this CPU. Raises InputError if there is no such folder,
    if `check_folder` finds a bad file, or if the data do not fit the network. A failed measurement is a problem of its
    files.
    """
    checks = {checked.file: checked for checked in check_folder(folder)}
    bad = [checked.file for checked in checks.values() if checked.ok is False]
    if bad:
        raise InputError(f"{folder}: nothing was run, as threshnet check finds bad files: {', '.join(bad)}")
    given = read_spec_file(folder / CONFIG, follow=False)
    config = read_json(folder / CONFIG, follow=False)
    config = config if isinstance(config, dict) else {}
    metric = "balanced_error" if config.get("metric") == "balanced_error" else "error"
    split = _test_split(folder, given, config.get("classes"), data) if data else None
    with TemporaryDirectory(prefix="threshnet-") as copies:
        paths = {file: folder / file for file in RUNTIMES if file in checks and checks[file].ok}
        if PT2 in paths:
            paths[PT2] = _trusted_copy(folder / PT2, Path(copies))
        times: dict[str, Times] = {}
        for runtime, place in ((RUNTIME, device), ("torch", Cpu())):
            files = {file: path for file, path in paths.items() if RUNTIMES[file] == runtime}
            times |= _measured(files, place, given.input_size, runtime, protocol)
        return [
            FileBenchmark(
                file=file,
                runtime=runtime,
                precision="int8" if file == INT8 else "fp32",
                size_bytes=(folder / file).stat().st_size,
                times=times.get(file) or Times(problems=(checks[file].message,)),
                difference=checks[file].difference,
                same_class_percent=checks[file].same_class_percent,
                score=_score(paths[file], split, metric) if split and file in paths else None,
            )
            for file, runtime in RUNTIMES.items()
            if file in checks
        ]


def sample_jpeg() -> bytes:
    """Return a JPEG of JPEG_SIZE, the same in every call: smooth colours with some noise, as in a photograph."""
    generator = np.random.default_rng(0)
    colours = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(colours.resize(JPEG_SIZE, Image.Resampling.BICUBIC)).astype(np.float64)
    noisy = (smooth + generator.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(noisy).save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


def _test_split(folder: Path, given: ResolvedNetwork, named: object, data: DataSettings) -> Split:
    """Load the test split. Raises InputError if its classes are not those of the network, called `named` if given."""
    classes = class_names(data)
    if len(classes) != given.spec.classes or (named and list(classes) != named):
        raise InputError(
            f"{folder}: a network of {given.spec.classes} classes, which are not the {len(classes)} classes of "
            f"{data.title}"
        )
    return scoring_images(data, given.input_size)


def _trusted_copy(path: Path, folder: Path) -> Path:
    """Copy a .pt2 file whose content is trusted. Raises InputError if it has changed since it was checked."""
    content = read_bytes(path, MAX_PT2_BYTES, follow=False)
    if not is_trusted(content):
        raise InputError(f"{path}: changed while it was checked")
    copy = folder / path.name
    copy.write_bytes(content)
    return copy


def _measured(
    files: Mapping[str, Path], device: Device, input_size: int, runtime: str, protocol: Protocol
) -> dict[str, Times]:
    """Measure files on one runtime, interleaved; returns their times by file name."""
    paths, n = list(files.values()), len(files)
    if not paths:
        return {}
    try:
        both = measure_all(
            device, [*paths, *paths], input_size, runtime, protocol, jpeg=sample_jpeg(), from_jpeg=range(n, 2 * n)
        )
        return {file: Times(*pair) for file, pair in zip(files, zip(both[:n], both[n:], strict=True), strict=True)}
    except MeasurementError as error:
        problem = f"no time from a JPEG: {error}"  # e.g. because Pillow is missing on the device
    try:
        plain = measure_all(device, paths, input_size, runtime, protocol)
        return {file: Times(latency, problems=(problem,)) for file, latency in zip(files, plain, strict=True)}
    except MeasurementError as error:
        return {file: Times(problems=(f"not measured: {error}",)) for file in files}


def _score(path: Path, split: Split, metric: str) -> Score:
    if path.name in (ONNX, INT8):
        return score_onnx(path, split, metric)
    model: nn.Module = torch.export.load(path).module() if path.name == PT2 else load_weights(path, follow=False)
    return score_model(model, split, metric)
