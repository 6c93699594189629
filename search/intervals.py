"""Confidence interval of an error rate."""

import math

NORMAL_95 = 1.959964  # the central 95 % of a normal distribution lies within this many standard deviations of the mean


def error_interval(percent: float, images: int) -> tuple[float, float]:
    """Return the 95 % confidence interval, in percent, of an error rate in percent measured on `images` images.

    This is the score interval of Wilson (1927, "Probable inference", J. Am. Stat. Assoc. 22, 209-212). Rates above 100
    are treated as 100.
    """
    share, spread = min(percent, 100.0) / 100, NORMAL_95**2 / images
    middle, half = share + spread / 2, NORMAL_95 * math.sqrt(share * (1 - share) / images + spread / images / 4)
    low, high = (100 * (middle + sign * half) / (1 + spread) for sign in (-1, 1))
    return max(low, 0.0), min(high, 100.0)
