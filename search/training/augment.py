"""Random augmentation of a batch of images."""

import torch
from torch import Tensor

GREY = 128  # brightness of a covered part, close to the mean of photographs


def augment(images: Tensor, flipped: Tensor | None, *, shift: int, cutout: int = 0) -> Tensor:
    """Flip, translate and partly cover a batch of images (n, 3, h, w) of any dtype.

    The images for which `flipped` (n,) is True are flipped horizontally. Translations are random, up to `shift` pixels,
    and reflect the border. A random square with a side of `cutout` pixels is grey (DeVries and Taylor, 2017,
    arXiv:1708.04552).
    """
    moved = _moved(images, flipped, shift)
    return _covered(moved, cutout) if cutout else moved


def _moved(images: Tensor, flipped: Tensor | None, shift: int) -> Tensor:
    n, channels, height, width = images.shape
    device = images.device
    if not shift:
        return images if flipped is None else torch.where(flipped[:, None, None, None], images.flip(-1), images)
    rows = _reflected(height, torch.randint(-shift, shift + 1, (n, 1), device=device))
    columns = _reflected(width, torch.randint(-shift, shift + 1, (n, 1), device=device))
    if flipped is not None:
        columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(n, 1, height * width)
    return images.flatten(2).gather(2, pixels.expand(n, channels, -1)).view(images.shape)


def _reflected(size: int, offsets: Tensor) -> Tensor:
    """Return the pixel indices (n, size) of a line translated by `offsets` (n, 1), with reflection at the borders."""
    index = torch.arange(size, device=offsets.device) + offsets
    return (size - 1 - (index.abs() - (size - 1)).abs()).clamp(0, size - 1)


def _covered(images: Tensor, side: int) -> Tensor:
    """Cover a square of each image (n, 3, h, w). Its center is any pixel, so that part of it may lie outside."""
    n, _, height, width = images.shape
    rows, columns = (_span(size, side, n, images.device) for size in (height, width))
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], GREY, images)


def _span(size: int, side: int, n: int, device: torch.device) -> Tensor:
    """Return a mask (n, size) of `side` consecutive pixels around a random one, cut off at the ends."""
    first = torch.randint(size, (n, 1), device=device) - side // 2
    index = torch.arange(size, device=device)
    return (index >= first) & (index < first + side)
