"""The digits of scikit-learn made hard to read: shifted, cluttered, with little contrast, occluded and noisy."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from search.datasets.images import Source, in_memory, shuffled
from search.datasets.named import Part

SEED = 0  # seed of the test part and of all changes to the images, which are the same for all studies
SIZE = 32  # pixels
SCALE = 3  # a digit of 8x8 pixels is enlarged to 24x24
TEST_SHARE = 3  # every third image is a test image

# The strengths of the changes, chosen so that the errors of small and large networks differ by more than 10 points.
SHIFT = 4  # maximum distance of a digit from the center along each axis, in pixels
CONTRAST = (80, 161)  # brightness of the brightest pixel of a digit, from the first value to below the second
CLUTTER = 1  # number of pieces of other digits in an image
PIECE = 8  # height and width of these pieces, in pixels
OCCLUSION = 8  # height and width of a grey square, in pixels
NOISE = 12  # a pixel's noise is the sum of four uniform numbers from -NOISE to NOISE
BACKGROUND = 48  # brightness of the background, 0 to 255

Pixels = NDArray[np.int64]


def read_noisy_digits(_path: Path, part: Part) -> Source:
    """Create a part of the noisy digits, 1,797 grey 32x32 images in all; a stratified third of them is the test part.

    The images are the same on every machine: all arithmetic is in whole numbers, and the stream of RandomState never
    changes (NEP 19). No digit is in both parts.
    """
    bunch: Any = load_digits()
    labels = bunch.target.astype(np.int64)
    pixels = noisy(bunch.images.astype(np.int64), np.random.RandomState(SEED))
    order = shuffled(labels, SEED)
    tests = len(order) // TEST_SHARE
    chosen = np.sort(order[:tests] if part == "test" else order[tests:])
    return in_memory(labels[chosen], pixels[chosen], "the noisy digits")


def noisy(digits: Pixels, random: np.random.RandomState) -> NDArray[np.uint8]:
    """Return an image (n, 32, 32) of each digit (n, 8, 8), whose pixels range from 0 to 16."""
    large = enlarged(digits)
    brightest, margin = 16 * SCALE**2, (SIZE - large.shape[1]) // 2
    images = np.empty((len(digits), SIZE, SIZE), np.uint8)
    for index, digit in enumerate(large):
        canvas = np.zeros((SIZE + 2 * SHIFT, SIZE + 2 * SHIFT), np.int64)  # a border, in case the digit is cut off
        for other in random.randint(len(large), size=CLUTTER):
            row, column = random.randint(large.shape[1] - PIECE + 1, size=2)
            top, left = random.randint(SIZE - PIECE + 1, size=2)
            _paste(canvas, large[other, row : row + PIECE, column : column + PIECE], SHIFT + top, SHIFT + left)
        top, left = SHIFT + margin + random.randint(-SHIFT, SHIFT + 1, size=2)
        _paste(canvas, digit, top, left)
        image = canvas[SHIFT:-SHIFT, SHIFT:-SHIFT] * random.randint(*CONTRAST) // brightest + BACKGROUND
        top, left = random.randint(SIZE - OCCLUSION + 1, size=2)
        image[top : top + OCCLUSION, left : left + OCCLUSION] = random.randint(*CONTRAST)
        noise = random.randint(-NOISE, NOISE + 1, size=(4, SIZE, SIZE)).sum(axis=0)
        images[index] = np.clip(image + noise, 0, 255)
    return images


def _paste(canvas: Pixels, pixels: Pixels, top: int, left: int) -> None:
    """Draw pixels (h, w) on a canvas; the brighter of both remains."""
    region = canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    np.maximum(region, pixels, out=region)


def enlarged(digits: Pixels) -> Pixels:
    """Enlarge digits (n, 8, 8) with pixels from 0 to 16 to smooth ones (n, 24, 24) with pixels from 0 to 144."""
    large = np.pad(digits.repeat(SCALE, axis=1).repeat(SCALE, axis=2), ((0, 0), (1, 1), (1, 1)))
    size = SCALE * digits.shape[1]
    windows: list[Pixels] = [
        large[:, row : row + size, column : column + size] for row in range(3) for column in range(3)
    ]
    total: Pixels = np.stack(windows).sum(axis=0)
    return total
