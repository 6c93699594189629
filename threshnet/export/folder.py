"""Export a network and its weights to files that run without this project, and verify each in a separate process."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from threshnet.checkpoint import load_weights, save_weights
from threshnet.errors import InputError
from threshnet.export import reload
from threshnet.export.agreement import INT8_CORRELATION, agreement, correlation, random_images
from threshnet.export.fold import folded, folding_difference
from threshnet.export.onnx_file import export_onnx, run_onnx, strip_metadata
from threshnet.export.onnx_graph import INPUT, OUTPUT
from threshnet.export.quantise import quantise
from threshnet.export.silence import silenced
from threshnet.export.standalone import MODEL, PREDICT, model_source, predict_source
from threshnet.network import ThreshNet
from threshnet.shapes import walk
from threshnet.shared_lease import SharedLease

README = "README.md"  # the model card
CONFIG, WEIGHTS, ONNX, INT8, PT2 = "config.json", "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2"


class ExportError(RuntimeError):
    """An exported file does not reproduce the network's logits; the message names the file and the difference."""


@dataclass(frozen=True)
class Exported:
    """An exported folder and the numerical accuracy of its files."""

    folder: Path
    # Largest difference of a logit from the network's, per fp32 file, over the random images.
    differences: dict[str, float]
    # Largest change of a logit by folding batch norms into convolutions, in float64, over the random images.
    folding_difference: float
    # Calibration images, percent, for which the int8 and fp32 files predict the same class; None without int8.
    int8_agreement: float | None = None
    # If the int8 file was rejected: the reason.
    int8_refused: str = ""

    @property
    def onnx_files(self) -> tuple[str, ...]:
        """The ONNX files in the folder."""
        return (ONNX,) if self.int8_agreement is None else (ONNX, INT8)


def protect_readme(folder: Path, companion: str) -> None:
    """Raise InputError if a folder has a README.md of another origin: ours come with a file called `companion`."""
    if (folder / README).exists() and not (folder / companion).exists():
        raise InputError(f"{folder / README}: another file of this name exists; choose another folder")


def export_folder(
    model: ThreshNet,
    input_size: int,
    folder: Path,
    config: Mapping[str, Any],
    calibration: Tensor | None = None,
    on_file: Callable[[str], None] = lambda file: None,
    lease: SharedLease = nullcontext,
) -> Exported:
    """Export a network to a model folder; `config` adds entries to config.json.

    The folder contains config.json, model.safetensors as trained and model.py to run it, model.onnx and model.pt2 with
    batch norms folded, and predict.py, which runs the ONNX files. Given `calibration` images (n, 3, size, size) in
    [0, 1], it also contains model_int8.onnx, unless 8 bits are too coarse for the network. `on_file` is called with the
    name of each file after it was loaded in a separate process and its logits were verified. Heavy work runs under
    `lease`, one file at a time. Raises ExportError if the logits of a file differ from the network's, and InputError if
    `input_size` is too small for the network.
    """
    walk(model.spec, input_size)
    model = model.cpu().float().eval()
    images = random_images(input_size)
    with lease():
        expected = _logits(model, images)
    folder.mkdir(parents=True, exist_ok=True)
    differences: dict[str, float] = {}

    def verify(file: str, run: Callable[[], NDArray[np.float32]]) -> None:
        with lease():
            logits = run()
        differences[file] = _check_agreement(folder / file, logits, expected)
        on_file(file)

    def verify_isolated(file: str) -> None:
        verify(file, lambda: _isolated_logits(folder, file, images))

    write_config(model, input_size, folder, config)
    on_file(CONFIG)
    (folder / PREDICT).write_text(predict_source())
    (folder / MODEL).write_text(model_source(model.spec))
    with lease():
        save_weights(model, folder / WEIGHTS)
    verify(WEIGHTS, lambda: _logits(load_weights(folder / WEIGHTS), images))
    verify_isolated(MODEL)

    with lease():
        inference = folded(model)
        export_onnx(inference, input_size, folder / ONNX, batch=None)
    verify_isolated(ONNX)
    on_file(PREDICT)
    with lease():
        write_pt2(inference, input_size, folder / PT2)
    verify_isolated(PT2)
    with lease():
        folding = folding_difference(model, images)

    exported = Exported(folder, differences, folding)
    (folder / INT8).unlink(missing_ok=True)
    if calibration is None:
        return exported
    exported = _with_int8(exported, calibration, images, expected, lease)
    if exported.int8_agreement is not None:
        on_file(INT8)
    return exported


def write_config(model: ThreshNet, input_size: int, folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json: format, input and output of the network, the entries of `config`, and the spec."""
    document = {
        "format": "threshnet-nas 2",
        "fingerprint": model.spec.fingerprint(),
        "input_size": input_size,
        "input": f"{INPUT}: float32 (n, 3, {input_size}, {input_size}), RGB scaled to [0, 1]",
        "preprocessing": f"8-bit RGB; centre square, resized to {input_size}x{input_size}, bilinear; divided by 255",
        "output": f"{OUTPUT}: float32 (n, {model.spec.classes})",
        **config,
        "spec": model.spec.to_json(),
    }
    partial = folder / (CONFIG + ".partial")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(folder / CONFIG)


def write_pt2(model: nn.Module, input_size: int, path: Path) -> None:
    """Write a network in eval mode to a .pt2 file for torch.export.load, with a dynamic batch size called n."""
    example = torch.zeros(2, 3, input_size, input_size)
    with silenced():
        program = torch.export.export(model, (example,), dynamic_shapes=({0: Dim("n")},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # contains local paths
        torch.export.save(program, path)


def _with_int8(
    exported: Exported, calibration: Tensor, images: Tensor, expected: NDArray[np.float32], lease: SharedLease
) -> Exported:
    """Add the int8 file to a folder, or the reason to reject it if its logits for `images` are too far off."""
    folder, partial = exported.folder, exported.folder / f"partial_{INT8}"
    with silenced():
        quantise(folder / ONNX, INPUT, calibration.numpy(), partial, lease)
    with lease():
        quantised = onnx.load(partial)
        strip_metadata(quantised)
        onnx.save(quantised, partial)
        isolated = _isolated_logits(folder, partial.name, images)
    local, on_calibration = np.split(run_onnx(partial, torch.cat([images, calibration]), lease), [len(images)])
    _check_agreement(folder / INT8, isolated, local)
    measured = correlation(local, expected)
    if not measured >= INT8_CORRELATION:
        partial.unlink()
        reason = f"its logits correlate with those in fp32 by {measured:.3f}, must be at least {INT8_CORRELATION}"
        return replace(exported, int8_refused=reason)
    partial.replace(folder / INT8)
    same = run_onnx(folder / ONNX, calibration, lease).argmax(axis=1) == on_calibration.argmax(axis=1)
    return replace(exported, int8_agreement=100 * float(same.mean()))


def _check_agreement(file: Path, logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference of a logit from the expected one; raises ExportError if it exceeds rounding."""
    compared = agreement(logits, expected)
    if not compared.ok:
        raise ExportError(
            f"{file}: its logits differ from those of the network by up to {compared.difference:.2g}; "
            f"rounding explains at most {compared.allowed:.2g}"
        )
    return compared.difference


def _logits(model: ThreshNet, images: Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(images).numpy()
    return logits


def _isolated_logits(folder: Path, file: str, images: Tensor) -> NDArray[np.float32]:
    try:
        return reload.isolated_logits(folder, file, images.numpy())
    except reload.ReloadError as error:
        raise ExportError(str(error)) from None
