"""Random copies of training images."""

import torch
from torch import Tensor


def augment(images: Tensor, *, flip: bool, shift: int) -> Tensor:
    """Randomly mirrored and translated copies of (n, 3, h, w) images of any dtype, a whole batch at once."""
    n, channels, height, width = images.shape
    device = images.device
    mirrored = torch.rand(n, 1, device=device) < 0.5 if flip else None
    if not shift:
        return images if mirrored is None else torch.where(mirrored[:, :, None, None], images.flip(-1), images)
    rows = _reflected(height, torch.randint(-shift, shift + 1, (n, 1), device=device))
    columns = _reflected(width, torch.randint(-shift, shift + 1, (n, 1), device=device))
    if mirrored is not None:
        columns = torch.where(mirrored, width - 1 - columns, columns)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(n, 1, height * width)
    return images.flatten(2).gather(2, pixels.expand(n, channels, -1)).view(images.shape)


def _reflected(size: int, offsets: Tensor) -> Tensor:
    """Indices (n, size) of the pixels that a line shows after a translation by each of `offsets` (n, 1)."""
    index = torch.arange(size, device=offsets.device) + offsets
    return (size - 1 - (index.abs() - (size - 1)).abs()).clamp(0, size - 1)
