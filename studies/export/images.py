"""The images that an export needs besides the network: some to calibrate int8 with, and the test split."""

from dataclasses import dataclass

import torch
from torch import Tensor

from search.data import DataSettings, Progress, SearchData, Split, load_calibration, load_test, quiet
from search.training.evaluate import scaled
from threshnet.errors import InputError
from threshnet.export.quantise import CALIBRATION

NOISE = 64  # images


@dataclass(frozen=True)
class ExportImages:
    """Images for an export; a network is calibrated and scored as far as they go."""

    # (n, 3, size, size) in [0, 1], none of them a test image; None: no int8 file is written.
    calibration: Tensor | None = None
    # Which these are, in words.
    calibrated_on: str = ""
    test: Split | None = None
    # Why there is no test split, or no calibration, where there is none; may name a path.
    missing: str = ""


def images_of_study(settings: DataSettings, size: int, progress: Progress = quiet) -> ExportImages:
    """The images of a data set that an export needs; where some cannot be had, the reason why."""
    try:
        calibration = scaled(load_calibration(settings, size, CALIBRATION, progress).images)
    except InputError as error:
        return ExportImages(missing=str(error))
    told = _told(calibration, settings.title)
    try:
        return ExportImages(calibration, told, load_test(settings, size, progress))
    except InputError as error:
        return ExportImages(calibration, told, missing=str(error))


def export_images(images: SearchData, test: Split, title: str) -> ExportImages:
    """The same out of images of the data set of that title, all of whose training images the network was trained on."""
    calibration = scaled(images.validation.images[:CALIBRATION])
    told = f"{len(calibration)} of the training images of {title}, none of the test split"
    return ExportImages(calibration, told, test)


def noise(size: int) -> ExportImages:
    """For an untrained network, of which nothing but the speed is of interest."""
    images = torch.rand(NOISE, 3, size, size, generator=torch.Generator().manual_seed(1))
    return ExportImages(images, f"{NOISE} images of noise, as the weights are random: good for timing alone")


def _told(calibration: Tensor, title: str) -> str:
    return f"{len(calibration)} validation images of {title}, none of the test split"
