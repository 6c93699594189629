"""The images of an export: some to calibrate int8 with, and the test split."""

from dataclasses import dataclass

import torch
from torch import Tensor

from search.data import DataSettings, Progress, SearchData, Split, load_calibration, load_test, no_progress
from search.training.evaluate import scaled
from threshnet.errors import InputError
from threshnet.export.quantise import CALIBRATION

NOISE = 64  # images


@dataclass(frozen=True)
class ExportImages:
    """The images of an export; without them, calibration or scoring is skipped."""

    # (n, 3, size, size) in [0, 1], none of them a test image; None: no int8 file is written.
    calibration: Tensor | None = None
    # Their description, in words.
    calibrated_on: str = ""
    test: Split | None = None
    # The reason if test split or calibration is missing; may contain a path.
    missing: str = ""


def images_of_study(settings: DataSettings, size: int, progress: Progress = no_progress) -> ExportImages:
    """The images of a data set for an export, or the reason why some are missing."""
    try:
        calibration = scaled(load_calibration(settings, size, CALIBRATION, progress).images)
    except InputError as error:
        return ExportImages(missing=str(error))
    description = _description(calibration, settings.title)
    try:
        return ExportImages(calibration, description, load_test(settings, size, progress))
    except InputError as error:
        return ExportImages(calibration, description, missing=str(error))


def export_images(images: SearchData, test: Split, title: str) -> ExportImages:
    """The images for a network that was trained on all training images of the data set called `title`."""
    calibration = scaled(images.validation.images[:CALIBRATION])
    description = f"{len(calibration)} of the training images of {title}, none of the test split"
    return ExportImages(calibration, description, test)


def noise(size: int) -> ExportImages:
    """Noise images for an untrained network, which can only be timed."""
    images = torch.rand(NOISE, 3, size, size, generator=torch.Generator().manual_seed(1))
    return ExportImages(images, f"{NOISE} noise images, as the weights are random: for timing only")


def _description(calibration: Tensor, title: str) -> str:
    return f"{len(calibration)} validation images of {title}, none of the test split"
