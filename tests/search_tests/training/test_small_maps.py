"""Matrix products in place of convolutions: the same results and gradients, and only on small maps."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from search_tests.tiny import dark_and_bright
from torch import Tensor, nn
from torch.nn import functional

from search.training.recipes import PUBLISHED
from search.training.small_maps import MAX_SIDE_1X1, MAX_SIDE_3X3, SmallMaps
from search.training.train import Training
from threshnet.named import named
from threshnet.network import build

MAPS = [(1, 1), (2, 2), (1, 2), (2, 1)]


def gradients(conv: nn.Conv2d, maps: Tensor, under: AbstractContextManager[object]) -> tuple[Tensor, ...]:
    """The result of a convolution, and the gradients of a fixed function of it for the maps and the kernels."""
    maps = maps.clone().requires_grad_()
    with under:
        result = conv(maps)
    weighted = (result * torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view(result.shape)).sum()
    return result.detach(), *torch.autograd.grad(weighted, (maps, conv.weight))


def multiplied(conv: nn.Conv2d, maps: Tensor) -> bool:
    """True if the convolution became a matrix product."""
    with SmallMaps():
        return "Convolution" not in type(conv(maps).grad_fn).__name__


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_result_and_gradients_equal_those_of_the_convolution(
    kernel: int, size: tuple[int, int], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 4, kernel, padding=kernel // 2, bias=False).double()
    maps = torch.randn(3, 5, *size, dtype=torch.double).contiguous(memory_format=layout)
    assert multiplied(conv, maps)
    for ours, theirs in zip(gradients(conv, maps, SmallMaps()), gradients(conv, maps, nullcontext()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("conv", "side"),
    [
        (nn.Conv2d(5, 4, 1, bias=False), MAX_SIDE_1X1 + 1),
        (nn.Conv2d(5, 4, 3, padding=1, bias=False), MAX_SIDE_3X3 + 1),
        (nn.Conv2d(5, 4, 1, bias=True), 1),
        (nn.Conv2d(5, 4, 1, stride=2, bias=False), 2),
        (nn.Conv2d(5, 5, 1, groups=5, bias=False), 1),
        (nn.Conv2d(5, 4, 3, padding=1, dilation=1, stride=2, bias=False), 2),
        (nn.Conv2d(5, 4, 5, padding=2, bias=False), 1),
        (nn.Conv2d(5, 4, 1, padding=1, bias=False), 1),
    ],
)
def test_other_convolutions_are_unchanged(conv: nn.Conv2d, side: int) -> None:
    assert not multiplied(conv, torch.randn(2, 5, side, side))


def test_mixed_precision_computes_in_bf16_with_gradients_in_the_dtype_of_the_weights() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 32, 3, padding=1, bias=False)
    maps = torch.randn(8, 64, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        ours, *ours_grads = gradients(conv, maps, SmallMaps())
        theirs, *theirs_grads = gradients(conv, maps, nullcontext())
    assert ours.dtype == theirs.dtype == torch.bfloat16
    for a, b in zip([ours, *ours_grads], [theirs, *theirs_grads], strict=True):
        assert a.dtype == b.dtype
        assert float((a - b).norm() / b.norm()) < 0.01


def test_other_functions_pass_through_with_their_keywords() -> None:
    maps, kernels = torch.randn(1, 2, 1, 1), torch.randn(3, 2, 1, 1)
    with SmallMaps():
        found = functional.conv2d(maps, kernels, padding=1)
    torch.testing.assert_close(found, functional.conv2d(maps, kernels, padding=1))


def test_a_training_on_a_cpu_uses_products_with_the_same_losses() -> None:
    recipe = replace(PUBLISHED, batch=50, epochs=2)
    spec = replace(named("threshnet28"), classes=2)  # its last maps of 32 x 32 images have one pixel
    with_products, without = (
        Training(partial(build, spec), dark_and_bright(100, size=32), recipe, flip=True, seed=0) for _ in range(2)
    )
    assert with_products.convolving is SmallMaps
    without.convolving = nullcontext
    for training in (with_products, without):
        training.step_epoch()
    ours, theirs = with_products.epochs[0].loss, without.epochs[0].loss
    assert ours != theirs
    assert ours == pytest.approx(theirs, rel=1e-3)
