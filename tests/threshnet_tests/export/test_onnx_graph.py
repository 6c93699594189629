"""ONNX graphs from rows: the logits of the network, and the operators that torch's exporter gives."""

from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from threshnet import NetworkSpec
from threshnet.errors import InputError
from threshnet.export.fold import folded
from threshnet.export.onnx_file import export_onnx, run_onnx
from threshnet.named import dense_block, harmonic_block
from threshnet.network import ThreshNet, build
from threshnet.shapes import Op
from threshnet.spec import Activation, StemSpec

SIZE = 16
BLOCKS = (dense_block(3, 4, 8, pool=True), harmonic_block(4, 6, 10))


def network(activation: Activation) -> ThreshNet:
    """A network with every operator, whose norms have non-default statistics and whose activations reach 6."""
    torch.manual_seed(3)
    stem = StemSpec((8, 12), stride=1, pool=True)
    model = build(NetworkSpec(BLOCKS, stem, activation, block_dropout=0.5, head_dropout=0.5, classes=7))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.get_buffer("running_mean"))
            nn.init.uniform_(module.get_buffer("running_var"), 0.1, 2)
            nn.init.uniform_(module.weight, 1, 4)
            nn.init.uniform_(module.bias, -1, 1)
    return model.eval()


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("batch", [None, 3])
def test_the_logits_are_those_of_the_network(
    activation: Activation, fold: bool, batch: int | None, tmp_path: Path
) -> None:
    model, images = network(activation), torch.rand(3, 3, SIZE, SIZE)
    export_onnx(folded(model) if fold else model, SIZE, tmp_path / "model.onnx", batch)
    with torch.inference_mode():
        expected = model(images).numpy()
    np.testing.assert_allclose(run_onnx(tmp_path / "model.onnx", images), expected, rtol=1e-4, atol=1e-4)
    (declared,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert (declared.name, declared.shape) == ("images", [batch or "n", 3, SIZE, SIZE])


def test_every_operator_is_converted() -> None:
    converted = {row.op for activation in ("relu", "relu6") for row in network(activation).rows}
    assert converted == set(get_args(Op))


def test_nodes_have_the_names_of_the_rows(tmp_path: Path) -> None:
    model = network("relu6")
    export_onnx(model, SIZE, tmp_path / "model.onnx")
    nodes = [node.name for node in onnx.load(tmp_path / "model.onnx").graph.node if node.op_type != "Concat"]
    assert nodes == [row.name for row in model.rows if row.op != "dropout"]


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_onnxruntime_runs_the_operators_of_torchs_exporter(activation: Activation, tmp_path: Path) -> None:
    """They are compared after the optimizations of onnxruntime, since these are what is measured."""

    class Wrapped(nn.Module):
        """The same network as a module that is not a ThreshNet, which torch exports."""

        def __init__(self) -> None:
            super().__init__()
            self.network = folded(network(activation))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(images)
            return logits

    def optimized(model: nn.Module) -> Counter[str]:
        export_onnx(model, SIZE, tmp_path / "model.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)

    assert optimized(folded(network(activation))) == optimized(Wrapped())


def test_a_too_small_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input size 2 is too small"):
        export_onnx(network("relu"), 2, tmp_path / "model.onnx")
