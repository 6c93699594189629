"""Compare the logits of exported files: the tolerances in fp32 and int8, and the images to compare them on."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

RANDOM_IMAGES = 16  # number of images: half noise, half smooth colours
TOLERANCE = 1e-4  # largest difference of an fp32 logit, relative to the largest logit, with which rounding errors grow
INT8_CORRELATION = 0.9  # least correlation of int8 and fp32 logits; between different networks it is about 0


@dataclass(frozen=True)
class Agreement:
    """Difference between fp32 logits and the expected ones."""

    # Largest absolute difference of a logit; not finite if a logit is not.
    difference: float
    # Largest difference that rounding explains.
    allowed: float

    @property
    def ok(self) -> bool:
        """True if rounding explains the difference; always false with non-finite logits."""
        return isfinite(self.allowed) and self.difference <= self.allowed


def random_images(size: int) -> Tensor:
    """Images (n, 3, size, size) in [0, 1] to compare files on, the same in every call."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(RANDOM_IMAGES // 2, 3, size, size, generator=generator)
    colours = torch.rand(RANDOM_IMAGES // 2, 3, 4, 4, generator=generator)
    return torch.cat([noise, interpolate(colours, (size, size), mode="bilinear")])


def agreement(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> Agreement:
    """Compare fp32 logits (n, classes) with the expected ones of the same shape."""
    with np.errstate(invalid="ignore", over="ignore"):  # Agreement.ok rejects non-finite values
        difference = float(np.abs(logits - expected).max())
    return Agreement(difference, TOLERANCE * float(np.abs(expected).max()))


def correlation(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Correlation of int8 logits (n, classes) with those in fp32; NaN if either is constant.

    The int8 file is accepted if this is at least INT8_CORRELATION.
    """
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(logits.ravel(), expected.ravel())[0, 1])
