"""`threshnet check`: verify that the files of a model folder are intact and consistent, without executing them.

The network is built from config.json and the weights in the safetensors file. ONNX files are inspected before
onnxruntime reads them. model.py and predict.py are compared as text and never imported. A .pt2 file is opened only if
it is trusted, i.e. if it was made on this machine. The folder must not contain modules that its programs could import
instead of a library.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.latency.lease import shared
from studies.export.trusted import is_trusted
from threshnet.bounds import check_size
from threshnet.checkpoint import load_weights
from threshnet.errors import InputError
from threshnet.export.agreement import INT8_CORRELATION, RANDOM_IMAGES, agreement, correlation, random_images
from threshnet.export.folder import INT8, ONNX, PT2, README, WEIGHTS
from threshnet.export.onnx_graph import INPUT, OUTPUT
from threshnet.export.standalone import MODEL, PREDICT, Version, model_version, predict_version
from threshnet.inspect_onnx import read_onnx
from threshnet.spec_file import CONFIG, ResolvedNetwork, read_spec_file
from threshnet.untrusted import clean, read_bytes

MAX_TEXT_BYTES = 2**22
MAX_MESSAGE = 300  # maximum length of a message in characters
IMPORTABLE = (".py", ".pyc", ".pyd", ".pyw", ".so")  # suffixes of files that Python can import
HISTORY = "history.json"


@dataclass(frozen=True)
class FolderCheck:
    """The result of checking one file."""

    file: str
    # None if the file was not checked.
    ok: bool | None
    message: str
    # Largest difference of a logit from those of the network, for a file that runs in fp32.
    difference: float | None = None
    # Percentage of the random images in the class of fp32, for the int8 file.
    same_class_percent: float | None = None

    def text(self) -> str:
        """Format the result as one line."""
        verdict = {True: "ok", False: "BAD", None: "-"}[self.ok]
        return f"{verdict:<4}{clean(ascii(self.file)[1:-1])}: {clean(self.message, MAX_MESSAGE)}"


def check_folder(folder: Path) -> Iterator[FolderCheck]:
    """Check every file of a model folder. The other files are compared with config.json and the weights.

    Raises InputError if there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    try:
        given = read_spec_file(folder / CONFIG, follow=False)
        costs = check_size(given.spec, given.input_size)
    except InputError as error:
        yield _bad(folder, CONFIG, error)
        return
    yield FolderCheck(CONFIG, True, f"network {given.spec.fingerprint()}, {costs.params:,} parameters")
    images = random_images(given.input_size)
    try:
        model = load_weights(folder / WEIGHTS, follow=False)
        if model.spec.fingerprint() != given.spec.fingerprint():
            raise InputError(f"{folder / WEIGHTS}: weights of network {model.spec.fingerprint()}")
    except InputError as error:
        yield _bad(folder, WEIGHTS, error)
        return
    with shared(), torch.inference_mode():
        expected: NDArray[np.float32] = torch.cat([model(image) for image in images.split(1)]).numpy()
    if not np.isfinite(expected).all():
        yield FolderCheck(WEIGHTS, False, "its network gives non-finite logits")
        return
    yield FolderCheck(WEIGHTS, True, "fits the network")
    checks: dict[str, Callable[[Path], FolderCheck]] = {
        ONNX: lambda path: _agrees(ONNX, _run_onnx(path, given, images), expected),
        INT8: lambda path: _resembles(INT8, _run_onnx(path, given, images), expected),
        PT2: lambda path: _pt2(path, 8 * costs.params + MAX_TEXT_BYTES, images, expected),
        MODEL: lambda path: _known_program(path, lambda source: model_version(source, given.spec)),
        PREDICT: lambda path: _known_program(path, predict_version),
    }
    for file in sorted(path.name for path in folder.iterdir()):
        if file in checks:
            try:
                yield checks[file](folder / file)
            except InputError as error:
                yield _bad(folder, file, error)
        elif file not in (CONFIG, WEIGHTS):
            yield _other(folder / file)


def _bad(folder: Path, file: str, error: InputError) -> FolderCheck:
    return FolderCheck(file, False, str(error).removeprefix(f"{folder / file}: "))


def _other(path: Path) -> FolderCheck:
    """Check a file or folder that is not part of an export."""
    if path.is_symlink() or path.is_dir() or path.suffix.lower() in IMPORTABLE:
        return FolderCheck(
            path.name, False, "does not belong here: the programs of the folder could import it or its contents"
        )
    message = "text, not checked" if path.name in (README, HISTORY) else "not part of a model folder, not checked"
    return FolderCheck(path.name, None, message)


def _run_onnx(path: Path, given: ResolvedNetwork, images: Tensor) -> NDArray[np.float32]:
    content = read_onnx(path, given.spec, given.input_size, follow=False)
    try:
        with shared():
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            return np.concatenate([session.run([OUTPUT], {INPUT: image.numpy()})[0] for image in images.split(1)])
    except Exception as error:  # the exceptions of onnxruntime have no common base class
        raise InputError(f"{path}: does not run ({clean(str(error))})") from None


def _agrees(file: str, logits: NDArray[np.float32], expected: NDArray[np.float32]) -> FolderCheck:
    """Test whether logits equal those of the network, except for rounding errors."""
    if logits.shape != expected.shape:
        return FolderCheck(file, False, f"gives logits {logits.shape}, not {expected.shape}")
    found = agreement(logits, expected)
    largest = f"up to {found.difference:.1g} on {RANDOM_IMAGES} random images"
    message = f"its logits differ from those of {WEIGHTS} by {largest}"
    return FolderCheck(file, found.ok, message, difference=found.difference)


def _resembles(file: str, logits: NDArray[np.float32], expected: NDArray[np.float32]) -> FolderCheck:
    """Test whether logits equal those of the network, except for errors due to 8-bit quantisation."""
    if logits.shape != expected.shape:
        return FolderCheck(file, False, f"gives logits {logits.shape}, not {expected.shape}")
    if not np.isfinite(logits).all():
        return FolderCheck(file, False, "gives non-finite logits")
    follows = correlation(logits, expected)
    same = 100 * float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean())
    message = (
        f"{same:.0f} % of {RANDOM_IMAGES} random images in the class of fp32, correlation of the logits {follows:.3f}"
    )
    return FolderCheck(file, follows >= INT8_CORRELATION, message, same_class_percent=same)


def _pt2(path: Path, limit: int, images: Tensor, expected: NDArray[np.float32]) -> FolderCheck:
    content = read_bytes(path, limit, follow=False)
    if not is_trusted(content):
        return FolderCheck(PT2, None, "not opened, as it was not made on this machine: loading it can run code")
    with shared(), torch.inference_mode():
        program = torch.export.load(io.BytesIO(content)).module()
        return _agrees(PT2, torch.cat([program(image) for image in images.split(1)]).numpy(), expected)


def _known_program(path: Path, version_of: Callable[[str], Version | None]) -> FolderCheck:
    """Check that a program is identical to the export of this network by this or an earlier version."""
    version = version_of(read_bytes(path, MAX_TEXT_BYTES, follow=False).decode(errors="replace"))
    if version:
        return FolderCheck(path.name, True, f"identical to what {version} writes for this network")
    problem = "differs from what any known version writes for this network; read it before you run it"
    return FolderCheck(path.name, False, problem)
