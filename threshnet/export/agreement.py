"""When two files hold one network: what its logits may differ by, in fp32 and in 8 bits, on which images."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

PROBES = 16  # images: half noise, half soft colours
TOLERANCE = 1e-4  # largest difference of a logit in fp32, as a share of the largest logit, as rounding grows with it
INT8_CORRELATION = 0.9  # least correlation of the logits of int8 with those of fp32; of another network it is about 0


@dataclass(frozen=True)
class Agreement:
    """How closely some logits in fp32 follow the expected ones."""

    # Largest difference of a logit; not finite where a logit is not.
    difference: float
    # The largest that there may be.
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the difference is nothing but rounding."""
        return isfinite(self.allowed) and self.difference <= self.allowed  # never where one of them is no number


def probes(size: int) -> Tensor:
    """Images (n, 3, size, size) in [0, 1] on which files are compared, the same at every call."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(PROBES // 2, 3, size, size, generator=generator)
    soft = torch.rand(PROBES // 2, 3, 4, 4, generator=generator)
    return torch.cat([noise, interpolate(soft, (size, size), mode="bilinear")])


def agreement(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> Agreement:
    """Compare logits (n, classes) in fp32 with those expected, of the same shape."""
    with np.errstate(invalid="ignore", over="ignore"):  # what is no finite number is never allowed
        difference = float(np.abs(logits - expected).max())
    return Agreement(difference, TOLERANCE * float(np.abs(expected).max()))


def correlation(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The correlation of the logits (n, classes) of an int8 file with those in fp32; no number where one is constant.

    It is the network's file where this is at least INT8_CORRELATION.
    """
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(logits.ravel(), expected.ravel())[0, 1])
