"""Fold batch norms into the preceding convolutions, if this is exact."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from threshnet.network import ThreshNet
from threshnet.shapes import Row


def foldable(rows: tuple[Row, ...]) -> dict[int, int]:
    """Map each norm that can be folded to its convolution, both as row indices.

    The norm must read only that convolution and be its only reader. This holds for the norms of the stem, the
    transitions and `conv` units, and for the second norm of a bottleneck. The first norm of a bottleneck does not
    follow a convolution.
    """
    readers: dict[int, int] = {}
    for row in rows:
        for source in row.sources:
            readers[source] = readers.get(source, 0) + 1
    return {
        index: row.sources[0]
        for index, row in enumerate(rows)
        if row.op == "norm"
        and len(row.sources) == 1
        and rows[row.sources[0]].op == "conv"
        and readers[row.sources[0]] == 1
    }


def folded(model: ThreshNet) -> ThreshNet:
    """Copy a model for inference with all foldable norms folded, in float64 arithmetic.

    The convolutions get a bias and the norms become identities; the logits are unchanged up to rounding.
    """
    result = copy.deepcopy(model).eval()
    for norm, convolution in foldable(result.rows).items():
        names = result.rows[convolution].name, result.rows[norm].name
        before, after = (result.get_submodule(name) for name in names)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        dtype = before.weight.dtype
        result.add_module(names[0], fuse_conv_bn_eval(before.double(), after.double()).to(dtype))
        result.add_module(names[1], nn.Identity())
    return result


@torch.inference_mode()
def folding_difference(model: ThreshNet, images: torch.Tensor) -> float:
    """Largest change of a logit by folding, over images (n, 3, h, w), computed in float64."""
    exact = copy.deepcopy(model).double().eval()
    return float((folded(exact)(images.double()) - exact(images.double())).abs().max())
