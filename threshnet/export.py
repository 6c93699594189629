"""A network and its weights as files that run without this project, each reloaded elsewhere and compared."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from threshnet import reload
from threshnet.checkpoint import load_weights, save_weights
from threshnet.fold import folded, folding_difference
from threshnet.network import ThreshNet
from threshnet.quantise import quantise
from threshnet.shapes import walk
from threshnet.standalone import MODEL, PREDICT, model_source, predict_source

CONFIG, WEIGHTS, ONNX, INT8, PT2 = "config.json", "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2"
INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-4  # largest allowed difference of a logit in fp32
PROBES = 16  # random images that every file must agree on
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
) -> Exported:
    """Write the network as every file of a model folder; `config` adds entries to config.json.

    config.json, model.safetensors as trained with model.py to run it, model.onnx and model.pt2 with batch norms folded,
    model_int8.onnx where there are `calibration` images (n, 3, size, size) in [0, 1], predict.py for both ONNX files.
    `done` hears of each file that was written, loaded in a process of its own and found equal. Raises ExportError where
    one differs, and InputError where the network's pools leave nothing of an image of `input_size`.
    """
    walk(model.spec, input_size)
    model = model.cpu().float().eval()
    probes = torch.rand(PROBES, 3, input_size, input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected: NDArray[np.float32] = model(probes).numpy()
    folder.mkdir(parents=True, exist_ok=True)
    differences: dict[str, float] = {}

    def compare(file: str, logits: NDArray[np.float32]) -> None:
        difference = float(np.abs(logits - expected).max())
        if not difference <= TOLERANCE:
            raise ExportError(f"{folder / file}: its logits differ from the network's by up to {difference:.2g}")
        differences[file] = difference
        done(file)

    write_config(model, input_size, folder, config)
    done(CONFIG)
    (folder / PREDICT).write_text(predict_source())
    (folder / MODEL).write_text(model_source(model.spec))
    save_weights(model, folder / WEIGHTS)
    with torch.inference_mode():
        compare(WEIGHTS, load_weights(folder / WEIGHTS)(probes).numpy())
    compare(MODEL, _answers(folder, MODEL, probes))

    inference = folded(model)
    export_onnx(inference, input_size, folder / ONNX, batch=None)
    compare(ONNX, _answers(folder, ONNX, probes))
    done(PREDICT)
    export_pt2(inference, input_size, folder / PT2)
    compare(PT2, _answers(folder, PT2, probes))

    agreement = None
    (folder / INT8).unlink(missing_ok=True)
    if calibration is not None:
        agreement = _export_int8(folder, calibration, probes)
        done(INT8)
    return Exported(folder, differences, folding_difference(model, probes), agreement)


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
    example = torch.zeros(batch or 2, 3, input_size, input_size)
    shapes = {"images": {0: torch.export.Dim("n")}} if batch is None else None
    with _quiet():
        torch.onnx.export(
            model.eval(),
            (example,),
            path,
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=shapes,
            verbose=False,
        )
    model_file = onnx.load(path)
    _forget(model_file)
    onnx.save(model_file, path)
    onnx.checker.check_model(path)


def export_pt2(model: nn.Module, input_size: int, path: Path) -> None:
    """Write a torch.export program whose batch is free; torch.export.load reads it without this project."""
    example = torch.zeros(2, 3, input_size, input_size)
    with _quiet():
        program = torch.export.export(model.eval(), (example,), dynamic_shapes={"images": {0: torch.export.Dim("n")}})
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # would name folders of this machine
        torch.export.save(program, path)


def run_onnx(path: Path, images: Tensor) -> NDArray[np.float32]:
    """Logits (n, classes) that ONNX Runtime computes on the CPU for `images` (n, 3, h, w) in [0, 1]."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([OUTPUT], {INPUT: batch.numpy()})[0] for batch in images.split(BATCH)])


def _export_int8(folder: Path, calibration: Tensor, probes: Tensor) -> float:
    """Write the int8 file and check that it loads elsewhere; its agreement with fp32 on the calibration images."""
    with _quiet():
        quantise(folder / ONNX, INPUT, calibration.numpy(), folder / INT8)
    quantised = onnx.load(folder / INT8)
    _forget(quantised)
    onnx.save(quantised, folder / INT8)
    difference = float(np.abs(_answers(folder, INT8, probes) - run_onnx(folder / INT8, probes)).max())
    if not difference <= TOLERANCE:
        raise ExportError(f"{folder / INT8}: its logits differ by up to {difference:.2g} in a process of its own")
    classes = [run_onnx(folder / file, calibration).argmax(axis=1) for file in (ONNX, INT8)]
    return 100 * float((classes[0] == classes[1]).mean())


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
