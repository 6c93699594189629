"""ONNX files: written from a network or a library's model, and run on the CPU."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from threshnet.export.onnx_graph import DYNAMIC_BATCH, INPUT, OUTPUT, onnx_graph
from threshnet.export.silence import silenced
from threshnet.network import ThreshNet
from threshnet.shared_lease import SharedLease

BATCH = 100  # images per call of ONNX Runtime


def export_onnx(model: nn.Module, input_size: int, path: Path, batch: int | None = 1) -> None:
    """Export a model in eval mode to a self-contained ONNX file, weights included.

    Models other than a ThreshNet are exported by torch. The input is float32 (batch, 3, input_size, input_size); with
    `batch` None, the batch size is dynamic and called n.
    """
    if isinstance(model, ThreshNet):
        document = onnx_graph(model, input_size, batch)
    else:
        document = _traced(model, input_size, batch)
    onnx.save(document, path)
    onnx.checker.check_model(path)


def strip_metadata(model: onnx.ModelProto) -> None:
    """Remove the metadata of torch's exporter and of onnxruntime's quantisation, which contains local paths."""
    graph = model.graph
    items = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for item in [*items, *model.functions, *(node for function in model.functions for node in function.node)]:
        del item.metadata_props[:]
        item.doc_string = ""


def run_onnx(path: Path, images: Tensor, lease: SharedLease = nullcontext) -> NDArray[np.float32]:
    """Run an ONNX file on the CPU: logits (n, classes) for images (n, 3, h, w) in [0, 1].

    Takes the lease for loading the file and for each batch.
    """
    with lease():
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = []
    for batch in images.split(BATCH):
        with lease():
            parts.append(session.run([OUTPUT], {INPUT: batch.numpy()})[0])
    return np.concatenate(parts)


def _traced(model: nn.Module, input_size: int, batch: int | None) -> onnx.ModelProto:
    example = torch.zeros(batch or 2, 3, input_size, input_size)
    with silenced():
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: DYNAMIC_BATCH},) if batch is None else None,
            verbose=False,
        )
    assert program is not None  # always, with dynamo=True
    document = program.model_proto
    strip_metadata(document)
    return document
