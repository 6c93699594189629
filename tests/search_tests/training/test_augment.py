"""Augmentation against a slow reference, image by image."""

from typing import Any

import numpy as np
import pytest
import torch
from search_tests.tiny import dark_and_bright

from search.training.augment import GREY, augment


def slow_copies(image: np.ndarray[Any, Any], *, flip: bool, shift: int) -> list[bytes]:
    """Every possible augmentation of a (3, h, w) image, one by one, with NumPy's reflection."""
    height, width = image.shape[1:]
    copies = []
    for flipped in (image, image[:, :, ::-1])[: 1 + flip]:
        padded = np.pad(flipped, ((0, 0), (shift, shift), (shift, shift)), mode="reflect")
        copies += [
            padded[:, down : down + height, right : right + width].tobytes()
            for down in range(2 * shift + 1)
            for right in range(2 * shift + 1)
        ]
    return copies


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_augmentation_makes_exactly_the_possible_copies(flip: bool, shift: int, dtype: torch.dtype) -> None:
    n, originals = 2000, 4
    torch.manual_seed(shift)
    base = torch.randint(0, 256, (originals, 3, 5, 8)).to(dtype)
    images = base.repeat(n // originals, 1, 1, 1)
    made = augment(images, torch.rand(n) < 0.5 if flip else None, shift=shift)
    assert (made.shape, made.dtype) == (images.shape, images.dtype)
    copies = [slow_copies(image.numpy(), flip=flip, shift=shift) for image in base]
    assert all(len(set(of_one)) == len(of_one) for of_one in copies)
    seen: set[int] = set()
    for index, image in enumerate(made):  # all channels are augmented alike
        seen.add(copies[index % originals].index(image.contiguous().numpy().tobytes()))
    assert seen == set(range((1 + flip) * (2 * shift + 1) ** 2))
    assert torch.equal(images, base.repeat(n // originals, 1, 1, 1))  # the input is unchanged


def test_disabled_augmentation_does_nothing() -> None:
    images = dark_and_bright(6).images
    before = torch.random.get_rng_state()
    assert torch.equal(augment(images, None, shift=0), images)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_cutout_covers_a_square_around_any_pixel(side: int) -> None:
    torch.manual_seed(side)
    images = torch.randint(0, GREY, (3000, 3, 5, 8), dtype=torch.uint8)
    made = augment(images, None, shift=0, cutout=side)
    assert made.dtype == torch.uint8
    covered = made == GREY
    assert torch.equal(torch.where(covered, images, made), images)  # all other pixels are unchanged
    assert torch.equal(covered.all(1), covered.any(1))  # all channels alike
    expected = set()
    for row in range(5):
        for column in range(8):
            mask = np.zeros((5, 8), bool)
            top, left = row - side // 2, column - side // 2
            mask[max(0, top) : top + side, max(0, left) : left + side] = True
            expected.add(mask.tobytes())
    assert {mask.numpy().tobytes() for mask in covered[:, 0]} == expected
