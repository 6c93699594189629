"""The scale on which errors are predicted: the log of small errors; all large errors are alike."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_ERROR = 0.01  # percent; smaller errors are raised to this value, since the log of 0 is undefined
MAX_WARPED = -0.05  # larger warped errors are lowered to this value


def warped(error: float, edge: float) -> float:
    """Return log(e / (e + edge)) of an error e in percent: the log of small errors; all large errors are alike."""
    clipped = max(error, MIN_ERROR)
    return float(np.log(clipped / (clipped + edge)))


def unwarped(mean: Array, deviation: Array, edge: float) -> tuple[Array, Array]:
    """Return mean (n,) and standard deviation (n,) of log errors, from those of warped errors, to first order."""
    share = np.exp(np.minimum(mean, MAX_WARPED))
    error = edge * share / (1 - share)
    return np.log(error), deviation * (1 + error / edge)
