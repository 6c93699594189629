"""A network and its weights as files that run without this project, each reloaded and compared before it counts."""

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

from threshnet.checkpoint import load_weights, save_weights
from threshnet.network import ThreshNet
from threshnet.shapes import walk

CONFIG, WEIGHTS, ONNX, PT2 = "config.json", "model.safetensors", "model.onnx", "model.pt2"
INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-4  # largest allowed difference of a logit
PROBES = 16  # random images that every file must agree on


class ExportError(RuntimeError):
    """A written file does not compute what the network computes; the message names the file and the difference."""


@dataclass(frozen=True)
class Exported:
    """An exported folder and how closely its files follow the network."""

    folder: Path
    # Largest difference of a logit from the network's, per file name, over the probes.
    differences: dict[str, float]


def export_folder(
    model: ThreshNet,
    input_size: int,
    folder: Path,
    config: Mapping[str, Any],
    done: Callable[[str], None] = lambda file: None,
) -> Exported:
    """Write config.json, model.safetensors, model.onnx and model.pt2; `config` adds entries to config.json.

    `done` hears of each file that was written, reloaded and found equal. Raises ExportError where one differs, and
    InputError where the network's pools leave nothing of an image of `input_size`.
    """
    walk(model.spec, input_size)
    model = model.cpu().float().eval()
    folder.mkdir(parents=True, exist_ok=True)
    probes = torch.rand(PROBES, 3, input_size, input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(probes).numpy()
    differences: dict[str, float] = {}

    def check(file: str, logits: NDArray[np.float32]) -> None:
        difference = float(np.abs(logits - expected).max())
        if not difference <= TOLERANCE:
            raise ExportError(f"{folder / file}: its logits differ from the network's by up to {difference:.2g}")
        differences[file] = difference
        done(file)

    about = {
        "format": "threshnet-nas 1",
        "fingerprint": model.spec.fingerprint(),
        "input_size": input_size,
        "input": f"{INPUT}: float32 (n, 3, {input_size}, {input_size}), RGB scaled to [0, 1]",
        "output": f"{OUTPUT}: float32 (n, {model.spec.classes})",
        **config,
        "spec": model.spec.to_json(),
    }
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n")
    done(CONFIG)

    save_weights(model, folder / WEIGHTS)
    with torch.inference_mode():
        check(WEIGHTS, load_weights(folder / WEIGHTS)(probes).numpy())

    export_onnx(model, input_size, folder / ONNX, batch=None)
    check(ONNX, run_onnx(folder / ONNX, probes))

    export_pt2(model, input_size, folder / PT2)
    with torch.inference_mode():
        check(PT2, torch.export.load(folder / PT2).module()(probes).numpy())
    return Exported(folder, differences)


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


def _forget(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes, which name folders of this machine."""
    graph = model.graph
    noted = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for item in [*noted, *model.functions, *(node for function in model.functions for node in function.node)]:
        del item.metadata_props[:]
        item.doc_string = ""


def run_onnx(path: Path, images: Tensor) -> NDArray[np.float32]:
    """Logits (n, classes) that ONNX Runtime computes on the CPU for `images` (n, 3, h, w)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run([OUTPUT], {INPUT: images.numpy()})
    result: NDArray[np.float32] = logits
    return result


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
