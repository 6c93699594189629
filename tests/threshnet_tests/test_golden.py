"""The published networks: logits equal to those of the original code, and the cost columns of the papers."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from threshnet.checkpoint import import_original
from threshnet.costs import count
from threshnet.named import ABOUT, NAMED, named
from threshnet.shapes import walk

GOLDEN = Path(__file__).parent / "golden"
ORIGINALS = ("threshnet79", "threshnet95", "hardnet68", "hardnet85")


def fill(golden: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
    """State and input as generated for the golden files: PCG64 numbers in the order of the state, float64."""
    rng = np.random.Generator(np.random.PCG64(golden["seed"]))
    state: dict[str, Tensor] = {}
    for key, shape in golden["state_dict"]:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        elif len(shape) >= 2:
            state[key] = torch.from_numpy(rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:])))
        elif key.endswith((".weight", "running_var")):
            state[key] = torch.from_numpy(rng.uniform(0.5, 1.5, shape))
        else:
            state[key] = torch.from_numpy(0.1 * rng.standard_normal(shape))
    return state, torch.from_numpy(rng.standard_normal(golden["input_shape"]))


@pytest.mark.parametrize("name", ORIGINALS)
def test_logits_equal_those_of_the_original_network(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    state, images = fill(golden)
    model = import_original(NAMED[name], state)
    with torch.inference_mode():
        logits = model(images)
    assert logits.dtype == torch.float64
    np.testing.assert_allclose(logits[:, :10].numpy(), golden["logits_first_10"], rtol=0, atol=1e-9)
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]
    assert count(NAMED[name], 64).params == golden["parameters"]


class Published(NamedTuple):
    """One row of the reference tables at 224x224: exact params, the rest with the digits printed there."""

    params: int
    flops_g: str
    madd_g: str
    memory_mb: str
    convolutions: int


PUBLISHED = {
    "threshnet28": Published(10_183_882, "2.283576", "4.552448", "83.2576", 28),
    "threshnet79": Published(14_371_858, "3.457146", "6.895960", "109.6805", 79),
    "threshnet95": Published(16_189_202, "4.069199", "8.116692", "132.3382", 95),
    # HarDNets count the linear layer in their names.
    "hardnet68": Published(17_565_348, "4.260213", "8.511108", "49.2761", 67),
    "hardnet85": Published(36_670_212, "9.095234", "18.176588", "74.6512", 84),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_are_the_published_ones(name: str) -> None:
    costs, published = count(NAMED[name], 224), PUBLISHED[name]
    assert costs.params == published.params
    assert f"{costs.flops / 1e9:.6f}" == published.flops_g
    assert f"{costs.madd / 1e9:.6f}" == published.madd_g
    assert f"{costs.memory_mib:.4f}" == published.memory_mb
    assert sum(row.op == "conv" for row in walk(NAMED[name], 224)) == published.convolutions


# kind x layers (growth) -> transition, * = followed by a pool; from the published tables.
BLOCKS = {
    "threshnet28": "dense x6 (32) -> 128*, harmonic x2 (16) -> 480, harmonic x2 (16) -> 512*, "
    "harmonic x2 (80) -> 576*, harmonic x3 (320) -> 1024",
    "threshnet79": "dense x6 (32) -> 128*, dense x8 (32) -> 192*, dense x12 (32) -> 288, "
    "harmonic x16 (40) -> 480*, harmonic x4 (160) -> 960",
    "threshnet95": "dense x6 (32) -> 128*, dense x12 (32) -> 256*, dense x16 (32) -> 384, "
    "harmonic x16 (40) -> 480*, harmonic x4 (160) -> 960",
    "hardnet68": "harmonic x8 (14) -> 128*, harmonic x16 (16) -> 256, harmonic x16 (20) -> 320*, "
    "harmonic x16 (40) -> 640*, harmonic x4 (160) -> 1024",
    "hardnet85": "harmonic x8 (24) -> 192*, harmonic x16 (24) -> 256, harmonic x16 (28) -> 320*, "
    "harmonic x16 (36) -> 480, harmonic x16 (48) -> 720*, harmonic x4 (256) -> 1280",
}
KINDS = {
    "dense": ("bottleneck", 128, 1.0, "all"),
    "harmonic": ("conv", 0, 1.7, "odd_and_last"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_table(name: str) -> None:
    texts = []
    for block in NAMED[name].blocks:
        kind = "dense" if block.unit == "bottleneck" else "harmonic"
        unit, bottleneck_width, multiplier, output = KINDS[kind]
        assert (block.unit, block.bottleneck_width, block.output) == (unit, bottleneck_width, output)
        # Layer l of a dense block reads all nodes before it, layer l of a harmonic one l - 2^i for all 2^i dividing l.
        for layer, nodes in enumerate(block.links, start=1):
            harmonic = sorted(layer - 2**i for i in range(7) if layer % 2**i == 0)
            assert nodes == (tuple(range(layer)) if kind == "dense" else tuple(harmonic))
            exact = block.growth * multiplier ** (len(harmonic) - 1)
            assert block.widths[layer - 1] == int(int(exact + 1) / 2) * 2
        texts.append(f"{kind} x{block.depth} ({block.growth}) -> {block.transition}{'*' if block.pool else ''}")
    assert ", ".join(texts) == BLOCKS[name]


def test_heads_stems_and_dropouts_are_the_published_ones() -> None:
    for name, spec in NAMED.items():
        assert (spec.stem.stride, spec.stem.pool) == (2, True)
        assert spec.stem.widths == ((48, 96) if name == "hardnet85" else (32, 64))
        assert spec.classes == (1000 if name.startswith("hardnet") else 10)
        assert spec.activation == ("relu6" if name.startswith("hardnet") else "relu")
        dropouts = {"hardnet68": (0.0, 0.1), "hardnet85": (0.1, 0.2)}.get(name, (0.0, 0.0))
        assert (spec.block_dropout, spec.head_dropout) == dropouts


def test_only_linear_layers_have_biases() -> None:
    model = import_original(NAMED["threshnet79"], fill(json.loads((GOLDEN / "threshnet79.json").read_text()))[0])
    assert all(module.bias is None for module in model.modules() if isinstance(module, nn.Conv2d))


def test_names_are_case_insensitive_and_have_an_origin() -> None:
    assert named("ThreshNet79") is NAMED["threshnet79"]
    assert set(ABOUT) == set(NAMED)
    assert "reconstruction" in ABOUT["threshnet28"].origin
    with pytest.raises(ValueError, match=r"no network is named 'resnet50'.*threshnet79"):
        named("resnet50")
