"""Convolutions of very small feature maps as matrix products, which are several times faster on a CPU.

On a map of 2 x 2 pixels or fewer, most taps of a 3 x 3 kernel fall on padding. torch multiplies these taps anyway.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MAX_SIDE_3X3 = 2  # up to this side length, a 3 x 3 kernel covers the whole map from every pixel
MAX_SIDE_1X1 = 4  # up to this side length, matrix products were measured to be faster for 1 x 1 kernels


class SmallMaps(TorchFunctionMode):
    """While active, `conv2d` uses matrix products for small maps; results are the same up to rounding errors."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's interface
        """Called by torch instead of each of its functions."""
        if func is functional.conv2d and not kwargs and len(args) == 7:
            maps, kernels, bias, stride, padding, dilation, groups = args
            if (bias, stride, dilation, groups) == (None, (1, 1), (1, 1), 1):
                side = max(maps.shape[2:])
                match tuple(kernels.shape[2:]), padding:
                    case (1, 1), (0, 0) if side <= MAX_SIDE_1X1:
                        return functional.linear(maps.permute(0, 2, 3, 1), kernels.flatten(1)).permute(0, 3, 1, 2)
                    case (3, 3), (1, 1) if side <= MAX_SIDE_3X3:
                        return _Around.apply(maps, kernels, _computing(maps))
        return func(*args, **(kwargs or {}))


def _computing(maps: Tensor) -> torch.dtype:
    """Return the dtype in which torch computes a convolution of these maps."""
    kind = maps.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else maps.dtype


class _Around(torch.autograd.Function):
    """A convolution of maps (n, c, h, w) with kernels (d, c, 3, 3); h and w are at most MAX_SIDE_3X3."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernels: Tensor, dtype: torch.dtype) -> Tensor:  # noqa: ANN401 - torch's
        n, c, h, w = maps.shape
        taps = kernels.to(dtype).permute(2, 3, 0, 1).contiguous()
        seen = torch.stack([taps[window] for window in _windows(h, w)])  # (pixel out, row in, column in, d, c)
        matrix = seen.permute(0, 3, 1, 2, 4).reshape(h * w * len(kernels), h * w * c)
        pixels = maps.to(dtype).permute(0, 2, 3, 1).reshape(n, h * w * c)
        ctx.save_for_backward(pixels, matrix)
        ctx.shapes = maps.shape, maps.dtype, kernels.shape, kernels.dtype
        return (pixels @ matrix.T).view(n, h, w, len(kernels)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401 - torch's
        pixels, matrix = ctx.saved_tensors
        (n, c, h, w), maps_dtype, (d, *_), kernels_dtype = ctx.shapes
        grad = grad.permute(0, 2, 3, 1).reshape(n, h * w * d)
        of_maps = (grad @ matrix).view(n, h, w, c).permute(0, 3, 1, 2).to(maps_dtype)
        of_seen = (grad.T @ pixels).view(h * w, d, h, w, c).permute(0, 2, 3, 1, 4)
        of_taps = torch.zeros(3, 3, d, c, dtype=kernels_dtype, device=grad.device)
        for window, part in zip(_windows(h, w), of_seen, strict=True):
            of_taps[window] += part
        return of_maps, of_taps.permute(2, 3, 0, 1), None


def _windows(h: int, w: int) -> list[tuple[slice, slice]]:
    """Return, for each pixel in row-major order, the part of a 3 x 3 kernel that does not fall on padding."""
    return [(slice(1 - y, 1 - y + h), slice(1 - x, 1 - x + w)) for y in range(h) for x in range(w)]
