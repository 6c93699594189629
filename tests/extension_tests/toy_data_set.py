"""A data set of striped noise."""

from pathlib import Path

import numpy as np

from search.datasets.images import Source, in_memory
from search.datasets.named import Part

CONTRAST = 127  # of 255


def read_stripes(_folder: Path, part: Part) -> Source:
    """Generate grey 16x16 images with horizontal (class 0) or vertical (class 1) stripes."""
    seed, count = (0, 80) if part == "train" else (1, 20)
    labels = np.arange(count, dtype=np.int64) % 2
    pixels = np.random.default_rng(seed).integers(0, 255 - CONTRAST, (count, 16, 16), dtype=np.uint8)
    pixels[labels == 0, ::2, :] += CONTRAST
    pixels[labels == 1, :, ::2] += CONTRAST
    return in_memory(labels, pixels, f"the {part} stripes")
