"""Batch norms folded into the convolutions before them, where that is exact."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from threshnet.network import ThreshNet
from threshnet.shapes import Row


def foldable(rows: tuple[Row, ...]) -> dict[int, int]:
    """For each norm that can be folded, the convolution before it: rows by index.

    The norm must read nothing but that convolution and be its only reader. So the norms of stem, transitions and `conv`
    units fold, as does the second norm of a bottleneck; its first one comes before an activation and does not.
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
    """A copy for inference whose foldable norms are part of their convolutions, computed in float64.

    The convolutions get a bias, the norms become identities; the logits stay what they were, up to rounding.
    """
    result = copy.deepcopy(model).eval()
    for norm, convolution in foldable(result.rows).items():
        names = result.rows[convolution].name, result.rows[norm].name
        before, after = (result.get_submodule(name) for name in names)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        kind = before.weight.dtype
        result.add_module(names[0], fuse_conv_bn_eval(before.double(), after.double()).to(kind))
        result.add_module(names[1], nn.Identity())
    return result


@torch.inference_mode()
def folding_difference(model: ThreshNet, images: torch.Tensor) -> float:
    """The largest change that folding makes to a logit of images (n, 3, h, w), everything computed in float64."""
    exact = copy.deepcopy(model).double().eval()
    return float((folded(exact)(images.double()) - exact(images.double())).abs().max())
