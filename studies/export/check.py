"""`threshnet check`: whether the files of a model folder are whole and agree, without running anything in it.

The network is built from config.json, its weights come from the safetensors file, and the ONNX files are given to
onnxruntime after they were looked through. model.py and predict.py are compared as text, never imported, and a .pt2 is
opened only if this machine wrote it. Nothing may lie beside them that a program started there would import instead of a
library.
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
from studies.export.trusted import is_ours
from threshnet.bounds import check_size
from threshnet.checkpoint import load_weights
from threshnet.errors import InputError
from threshnet.export.agreement import INT8_CORRELATION, RANDOM_IMAGES, agreement, correlation, random_images
from threshnet.export.folder import INPUT, INT8, ONNX, OUTPUT, PT2, WEIGHTS
from threshnet.export.standalone import MODEL, PREDICT, Version, model_version, predict_version
from threshnet.inspect_onnx import read_onnx
from threshnet.spec_file import CONFIG, ResolvedNetwork, read_spec_file
from threshnet.untrusted import clean, read_bytes

MAX_TEXT_BYTES = 2**22
LONGEST = 300  # characters of what is said of a file
IMPORTED = (".py", ".pyc", ".pyd", ".pyw", ".so")  # endings of files that an import may find
CARD, HISTORY = "README.md", "history.json"


@dataclass(frozen=True)
class FolderCheck:
    """What there is to say of one file."""

    file: str
    # None: nothing can be said against it, but it was not tried either.
    ok: bool | None
    said: str

    def told(self) -> str:
        """It in a line."""
        verdict = {True: "ok", False: "BAD", None: "-"}[self.ok]
        return f"{verdict:<4}{clean(ascii(self.file)[1:-1])}: {clean(self.said, LONGEST)}"


def check_folder(folder: Path) -> Iterator[FolderCheck]:
    """Look at every file of a model folder, config.json and the weights first, without which nothing can be compared.

    InputError where there is no such folder.
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
            raise InputError(f"{folder / WEIGHTS}: holds network {model.spec.fingerprint()}")
    except InputError as error:
        yield _bad(folder, WEIGHTS, error)
        return
    with shared(), torch.inference_mode():
        expected: NDArray[np.float32] = torch.cat([model(image) for image in images.split(1)]).numpy()
    if not np.isfinite(expected).all():
        yield FolderCheck(WEIGHTS, False, "its network answers with values that are no finite numbers")
        return
    yield FolderCheck(WEIGHTS, True, "fits the network")
    looks: dict[str, Callable[[Path], tuple[bool | None, str]]] = {
        ONNX: lambda path: _agrees(_run_onnx(path, given, images), expected),
        INT8: lambda path: _resembles(_run_onnx(path, given, images), expected),
        PT2: lambda path: _pt2(path, 8 * costs.params + MAX_TEXT_BYTES, images, expected),
        MODEL: lambda path: _known_program(path, lambda source: model_version(source, given.spec)),
        PREDICT: lambda path: _known_program(path, predict_version),
    }
    for file in sorted(path.name for path in folder.iterdir()):
        if file in looks:
            try:
                yield FolderCheck(file, *looks[file](folder / file))
            except InputError as error:
                yield _bad(folder, file, error)
        elif file not in (CONFIG, WEIGHTS):
            yield _beside(folder / file)


def _bad(folder: Path, file: str, error: InputError) -> FolderCheck:
    return FolderCheck(file, False, str(error).removeprefix(f"{folder / file}: "))


def _beside(path: Path) -> FolderCheck:
    """What there is to say of an entry that no other file of the folder is compared with."""
    if path.is_symlink() or path.is_dir() or path.suffix.lower() in IMPORTED:
        return FolderCheck(
            path.name, False, "does not belong here: the programs here would import it, or what is in it"
        )
    told = "text, not checked" if path.name in (CARD, HISTORY) else "not of a model folder, not looked at"
    return FolderCheck(path.name, None, told)


def _run_onnx(path: Path, given: ResolvedNetwork, images: Tensor) -> NDArray[np.float32]:
    content = read_onnx(path, given.spec, given.input_size, follow=False)
    try:
        with shared():
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            return np.concatenate([session.run([OUTPUT], {INPUT: image.numpy()})[0] for image in images.split(1)])
    except Exception as error:  # onnxruntime has kinds of its own, without a common one
        raise InputError(f"{path}: does not run ({clean(str(error))})") from None


def _agrees(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> tuple[bool, str]:
    """Whether logits are those of the network, rounding aside."""
    if logits.shape != expected.shape:
        return False, f"gives logits {logits.shape}, not {expected.shape}"
    found = agreement(logits, expected)
    return (
        found.ok,
        f"its logits differ from those of {WEIGHTS} by up to {found.difference:.1g} on {RANDOM_IMAGES} random images",
    )


def _resembles(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> tuple[bool, str]:
    """Whether logits are those of the network, as far as 8 bits tell."""
    if logits.shape != expected.shape:
        return False, f"gives logits {logits.shape}, not {expected.shape}"
    if not np.isfinite(logits).all():
        return False, "answers with values that are no finite numbers"
    follows = correlation(logits, expected)
    same = 100 * float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean())
    told = (
        f"{same:.0f} % of {RANDOM_IMAGES} random images in the class of fp32, correlation of the logits {follows:.3f}"
    )
    return follows >= INT8_CORRELATION, told


def _pt2(path: Path, limit: int, images: Tensor, expected: NDArray[np.float32]) -> tuple[bool | None, str]:
    content = read_bytes(path, limit, follow=False)
    if not is_ours(content):
        return None, "not opened, as this machine did not write it: loading it can run code"
    with shared(), torch.inference_mode():
        program = torch.export.load(io.BytesIO(content)).module()
        return _agrees(torch.cat([program(image) for image in images.split(1)]).numpy(), expected)


def _known_program(path: Path, version_of: Callable[[str], Version | None]) -> tuple[bool, str]:
    """Check that a program is exactly what this or an earlier version exports for the network."""
    version = version_of(read_bytes(path, MAX_TEXT_BYTES, follow=False).decode(errors="replace"))
    if version:
        return True, f"as {version} writes it for this network"
    return False, "differs from what this version writes for this network; read it before you run it"
