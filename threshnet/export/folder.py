"""A network and its weights as files that run without this project, each reloaded elsewhere and compared."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from threshnet.checkpoint import load_weights, save_weights
from threshnet.export import reload
from threshnet.export.agreement import INT8_CORRELATION, agreement, correlation, probes
from threshnet.export.fold import folded, folding_difference
from threshnet.export.quantise import quantise
from threshnet.export.standalone import MODEL, PREDICT, model_source, predict_source
from threshnet.network import ThreshNet
from threshnet.shapes import walk
from threshnet.shared_lease import SharedLease

CONFIG, WEIGHTS, ONNX, INT8, PT2 = "config.json", "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2"
INPUT, OUTPUT = "images", "logits"
BATCH = 100  # images that ONNX Runtime is given at a time


class ExportError(RuntimeError):
    """A written file does not compute what the network computes; the message names the file and the difference."""


@dataclass(frozen=True)
class Exported:
    """An exported folder and how closely its files follow the network."""

    folder: Path
    # Largest difference of a logit from the network's, per fp32 file, over the probes.
    differences: dict[str, float]
    # Largest change of a logit by folding batch norms into convolutions, in float64, over the probes.
    folding_difference: float
    # Calibration images, percent, that the int8 file puts into the class of the fp32 file; None without int8.
    int8_agreement: float | None = None
    # Why there is no int8 file although there were calibration images; empty where there is one, or were none.
    int8_refused: str = ""

    @property
    def onnx_files(self) -> tuple[str, ...]:
        """The ONNX files that were written."""
        return (ONNX,) if self.int8_agreement is None else (ONNX, INT8)


def export_folder(
    model: ThreshNet,
    input_size: int,
    folder: Path,
    config: Mapping[str, Any],
    calibration: Tensor | None = None,
    done: Callable[[str], None] = lambda file: None,
    turn: SharedLease = nullcontext,
) -> Exported:
    """Write the network as every file of a model folder; `config` adds entries to config.json.

    config.json, model.safetensors as trained with model.py to run it, model.onnx and model.pt2 with batch norms folded,
    model_int8.onnx where there are `calibration` images (n, 3, size, size) in [0, 1] and 8 bits follow the network,
    predict.py for both ONNX files. `done` hears of each file that was written, loaded in a process of its own and found
    to agree; whatever loads the machine runs inside a `turn`, a file at a time. Raises ExportError where one differs,
    and InputError where the network's pools leave nothing of an image of `input_size`.
    """
    walk(model.spec, input_size)
    model = model.cpu().float().eval()
    images = probes(input_size)
    with turn():
        expected = _logits(model, images)
    folder.mkdir(parents=True, exist_ok=True)
    differences: dict[str, float] = {}

    def compare(file: str, answers: Callable[[], NDArray[np.float32]]) -> None:
        with turn():
            logits = answers()
        differences[file] = _agreed(folder / file, logits, expected)
        done(file)

    def elsewhere(file: str) -> None:
        compare(file, lambda: _answers(folder, file, images))

    write_config(model, input_size, folder, config)
    done(CONFIG)
    (folder / PREDICT).write_text(predict_source())
    (folder / MODEL).write_text(model_source(model.spec))
    with turn():
        save_weights(model, folder / WEIGHTS)
    compare(WEIGHTS, lambda: _logits(load_weights(folder / WEIGHTS), images))
    elsewhere(MODEL)

    with turn():
        program = trace(folded(model), input_size, batch=None)
        write_onnx(program, folder / ONNX)
    elsewhere(ONNX)
    done(PREDICT)
    with turn():
        write_pt2(program, folder / PT2)
    elsewhere(PT2)
    with turn():
        folding = folding_difference(model, images)

    exported = Exported(folder, differences, folding)
    (folder / INT8).unlink(missing_ok=True)
    if calibration is None:
        return exported
    exported = _with_int8(exported, calibration, images, expected, turn)
    if exported.int8_agreement is not None:
        done(INT8)
    return exported


def write_config(model: ThreshNet, input_size: int, folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json: what the files are, what goes in and comes out, `config`, and the network as data."""
    about = {
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
    partial.write_text(json.dumps(about, indent=2) + "\n")
    partial.replace(folder / CONFIG)


def export_onnx(model: nn.Module, input_size: int, path: Path, batch: int | None = 1) -> None:
    """Write a self-contained ONNX file, weights inside; `batch` None leaves the number of images free."""
    write_onnx(trace(model, input_size, batch), path)


def trace(model: nn.Module, input_size: int, batch: int | None) -> ExportedProgram:
    """A network in eval mode as a program of torch.export; `batch` None leaves the number of images free."""
    example = torch.zeros(batch or 2, 3, input_size, input_size)
    shapes = ({0: Dim("n")},) if batch is None else None
    with _quiet():
        program = torch.export.export(model.eval(), (example,), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # would name folders of this machine
    return program


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a program as an ONNX file with its weights inside; a free number of images is called n."""
    free = ({0: "n"},) if program.range_constraints else None
    with _quiet():
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=free,
            verbose=False,
        )
    assert written is not None  # with dynamo
    model = written.model_proto
    _forget(model)
    onnx.save(model, path)
    onnx.checker.check_model(path)


def write_pt2(program: ExportedProgram, path: Path) -> None:
    """Write a program as torch.export.load reads it without this project."""
    with _quiet():
        torch.export.save(program, path)


def run_onnx(path: Path, images: Tensor, turn: SharedLease = nullcontext) -> NDArray[np.float32]:
    """Logits (n, classes) that ONNX Runtime computes on the CPU for `images` (n, 3, h, w) in [0, 1].

    Loading the file and each batch take a `turn`.
    """
    with turn():
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = []
    for batch in images.split(BATCH):
        with turn():
            parts.append(session.run([OUTPUT], {INPUT: batch.numpy()})[0])
    return np.concatenate(parts)


def _with_int8(
    exported: Exported, calibration: Tensor, images: Tensor, expected: NDArray[np.float32], turn: SharedLease
) -> Exported:
    """The folder with its int8 file; or, where 8 bits do not follow the network's logits for `images`, why without."""
    folder, partial = exported.folder, exported.folder / f"partial_{INT8}"
    with _quiet():
        quantise(folder / ONNX, INPUT, calibration.numpy(), partial, turn)
    with turn():
        quantised = onnx.load(partial)
        _forget(quantised)
        onnx.save(quantised, partial)
        elsewhere = _answers(folder, partial.name, images)
    here, calibrated = np.split(run_onnx(partial, torch.cat([images, calibration]), turn), [len(images)])
    _agreed(folder / INT8, elsewhere, here)
    follows = correlation(here, expected)
    if not follows >= INT8_CORRELATION:
        partial.unlink()
        told = f"correlation of the logits with those in fp32 {follows:.3f}, must be {INT8_CORRELATION}"
        return replace(exported, int8_refused=told)
    partial.replace(folder / INT8)
    same = run_onnx(folder / ONNX, calibration, turn).argmax(axis=1) == calibrated.argmax(axis=1)
    return replace(exported, int8_agreement=100 * float(same.mean()))


def _agreed(file: Path, logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference of a logit from those expected; ExportError where it is more than rounding."""
    found = agreement(logits, expected)
    if not found.ok:
        raise ExportError(
            f"{file}: its logits differ from those of the network by up to {found.difference:.2g}; "
            f"rounding explains {found.allowed:.2g}"
        )
    return found.difference


def _logits(model: ThreshNet, images: Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(images).numpy()
    return logits


def _answers(folder: Path, file: str, probes: Tensor) -> NDArray[np.float32]:
    try:
        return reload.answers(folder, file, probes.numpy())
    except reload.ReloadError as error:
        raise ExportError(str(error)) from None


def _forget(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes, which name folders of this machine."""
    graph = model.graph
    noted = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for item in [*noted, *model.functions, *(node for function in model.functions for node in function.node)]:
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters, which warn about their own internals."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
