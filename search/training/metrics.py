"""The error that a study minimizes, and how many images its confidence interval is based on."""

from dataclasses import dataclass

from search.intervals import error_interval


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
