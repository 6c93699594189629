"""The error that a study minimizes, and how many images its confidence interval is based on."""

import math
from dataclasses import dataclass

NORMAL_95 = 1.959964  # the central 95 % of a normal distribution lies within this many standard deviations of the mean


@dataclass(frozen=True)
class Metric:
    """An entry of METRICS."""

    # Stands before "error" in sentences: "" or "balanced ".
    prefix: str
    # A phrase that defines the error.
    about: str


METRICS: dict[str, Metric] = {
    "error": Metric("", "the share of misclassified images"),
    "balanced_error": Metric("balanced ", "the mean over all classes of the share of misclassified images"),
}

ADDED = 2  # misclassified and correct images that are added to each class for a variance (Agresti and Coull, 1998)


@dataclass(frozen=True)
class ErrorCounts:
    """The misclassified images of a network, by class."""

    # Number of misclassified images of each class, in the order of the labels.
    wrong: tuple[int, ...]
    # Number of images of each class.
    images: tuple[int, ...]

    def percent(self, metric: str = "error") -> float:
        """Return the error in percent. The balanced error ignores classes without images."""
        if metric == "error":
            return 100 * (sum(self.wrong) / sum(self.images))
        shares = [wrong / images for wrong, images in zip(self.wrong, self.images, strict=True) if images]
        return 100 * (sum(shares) / len(shares))

    def effective_images(self, metric: str = "error") -> int:
        """Return the number of images on which an error rate with the same variance would be measured.

        A balanced error has more variance than an error rate on as many images, as it depends on small classes more.
        The result is at least 1 and at most the number of images.
        """
        total = sum(self.images)
        if metric == "error":
            return total
        classes = [pair for pair in zip(self.wrong, self.images, strict=True) if pair[1]]
        shares = [(wrong + ADDED) / (images + 2 * ADDED) for wrong, images in classes]
        mean = sum(shares) / len(shares)
        variances = [s * (1 - s) / (images + 2 * ADDED) for s, (_, images) in zip(shares, classes, strict=True)]
        return max(1, min(total, int(mean * (1 - mean) * len(classes) ** 2 / sum(variances))))

    def interval(self, metric: str = "error") -> tuple[float, float]:
        """Return the 95 % confidence interval of the error in percent; for the balanced error, an approximate one."""
        return error_interval(self.percent(metric), self.effective_images(metric))


def error_interval(percent: float, images: int) -> tuple[float, float]:
    """Return the 95 % confidence interval, in percent, of an error rate in percent measured on `images` images.

    This is the score interval of Wilson (1927, "Probable inference", J. Am. Stat. Assoc. 22, 209-212). Rates above 100
    are treated as 100.
    """
    share, spread = min(percent, 100.0) / 100, NORMAL_95**2 / images
    middle, half = share + spread / 2, NORMAL_95 * math.sqrt(share * (1 - share) / images + spread / images / 4)
    low, high = (100 * (middle + sign * half) / (1 + spread) for sign in (-1, 1))
    return max(low, 0.0), min(high, 100.0)
