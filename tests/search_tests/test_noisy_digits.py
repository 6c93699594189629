"""The noisy digits: the same images everywhere, no digit in two parts, and every change to an image."""

import hashlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from search.data import DataSettings, load_search, load_test
from search.datasets import noisy_digits
from search.datasets.noisy_digits import SCALE, SIZE, enlarged, noisy, read_noisy_digits


def test_the_images_are_the_same_on_every_machine() -> None:
    pixels = noisy(load_digits().images.astype(np.int64)[:50], np.random.RandomState(0))
    assert pixels.shape == (50, SIZE, SIZE)
    assert pixels.dtype == np.uint8
    assert hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest() == "d7d9081a7cc9a7b7"


def test_the_parts_are_stratified_and_disjoint() -> None:
    train, test = (read_noisy_digits(Path(), part) for part in ("train", "test"))
    assert (len(train.labels), len(test.labels)) == (1198, 599)
    counts = [np.bincount(part.labels, minlength=10) for part in (train, test)]
    assert np.abs(counts[0] - 2 * counts[1]).max() <= 2
    assert (counts[0] + counts[1]).tolist() == np.bincount(load_digits().target).tolist()


def test_a_search_reads_them() -> None:
    loaded = load_search(DataSettings("noisy_digits", train=100, validation=50), SIZE)
    assert (len(loaded.train), len(loaded.validation)) == (100, 50)
    assert (loaded.flip, loaded.classes) == (False, tuple("0123456789"))
    assert len(load_test(DataSettings("noisy_digits"), 16)) == 599


def test_an_enlarged_digit_is_smooth_and_has_the_same_mean() -> None:
    digit = np.zeros((1, 8, 8), np.int64)
    digit[0, 3, 4] = 16
    large = enlarged(digit)
    assert large.shape == (1, 8 * SCALE, 8 * SCALE)
    assert (large.max(), large[0, 3 * SCALE + 1, 4 * SCALE + 1]) == (16 * SCALE**2, 16 * SCALE**2)
    assert large.sum() == 16 * SCALE**4
    assert np.abs(np.diff(large, axis=1)).max() <= 16 * SCALE


def test_every_image_is_shifted_occluded_and_noisy() -> None:
    blank = np.zeros((40, 8, 8), np.int64)
    images = noisy(blank, np.random.RandomState(1)).astype(np.int64)
    changed = (images - noisy_digits.BACKGROUND > 2 * noisy_digits.NOISE).sum(axis=(1, 2))
    assert changed.min() >= noisy_digits.OCCLUSION**2 / 2  # the square
    assert images.std(axis=(1, 2)).min() > noisy_digits.NOISE / 2
    digits = np.full((40, 8, 8), 16, np.int64)
    tops = {int(np.argmax(image.mean(axis=1) > 100)) for image in noisy(digits, np.random.RandomState(1))}
    assert len(tops) > noisy_digits.SHIFT
