"""The images for an export: calibration images for int8, and the test split."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from search.data import DataSettings, Progress, SearchData, Split, load_calibration, load_test, no_progress
from search.training.evaluate import scaled
from threshnet.errors import InputError
from threshnet.export.quantise import CALIBRATION

NOISE = 64  # images


@dataclass(frozen=True)
class ExportImages:
    """The images for an export. Calibration or scoring is skipped if its images are missing."""

    # Images (n, 3, size, size) in [0, 1] without any test image. If None, no int8 file is written.
    calibration: Tensor | None = None
    # Description of the calibration images.
    calibrated_on: str = ""
    test: Split | None = None
    # Why the calibration images or the test split are missing. May contain a path.
    missing: str = ""


def scoring_images(settings: DataSettings, size: int, progress: Progress = no_progress) -> Split:
    """Load the test split of a data set, to score the files of a network. Raises InputError if it is missing."""
    return load_test(settings, size, progress)


def images_of_study(settings: DataSettings, size: int, progress: Progress = no_progress) -> ExportImages:
    """Load the images of a data set for an export. If some are missing, the result contains the reason."""
    try:
        calibration = scaled(load_calibration(settings, size, CALIBRATION, progress).images)
    except InputError as error:
        return ExportImages(missing=str(error))
    description = _description(calibration, settings.title)
    try:
        return ExportImages(calibration, description, load_test(settings, size, progress))
    except InputError as error:
        return ExportImages(calibration, description, missing=str(error))


def export_images(images: SearchData, test: Split | None, title: str) -> ExportImages:
    """Return the images for a network that was trained on training images of the data set called `title`.

    The test split has no remarks, since the training has printed them. It is None if nothing is to be scored on it.
    """
    calibration = scaled(images.validation.images[:CALIBRATION])
    description = f"{len(calibration)} of the training images of {title}, none of the test split"
    return ExportImages(calibration, description, test and replace(test, remarks=()))


def noise(size: int) -> ExportImages:
    """Return noise images for an untrained network, since only its latency is of interest."""
    images = torch.rand(NOISE, 3, size, size, generator=torch.Generator().manual_seed(1))
    return ExportImages(images, f"{NOISE} noise images, as the weights are random: for timing only")


def _description(calibration: Tensor, title: str) -> str:
    return f"{len(calibration)} validation images of {title}, none of the test split"
