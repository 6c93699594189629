"""Place the labels of a figure so that they do not cover points, lines or other labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Left, top, right, bottom in pixels of the figure, y downwards.
Box = tuple[float, float, float, float]

# Directions (right, up) from a point in which its label may be placed, in order of preference.
Sides = tuple[tuple[int, int], ...]
RIGHT_FIRST: Sides = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))
# Places below a front are preferred here.
OUTSIDE_FIRST: Sides = ((-1, -1), (-1, 0), (0, -1), (1, 1), (0, 1), (1, 0), (1, -1), (-1, 1))
GAPS = (13, 24, 38)  # pixels between the centre of a point and its label, nearest first
CHARACTER = 0.56  # average width of a character, relative to the font size
OUTSIDE = 20  # a pixel outside the frame counts as this many covered pixels


@dataclass(frozen=True)
class Spot:
    """A possible place for a label."""

    box: Box
    # Number of occupied pixels that the label covers. A pixel outside the frame counts OUTSIDE times.
    covered: int
    # The place in the format of plotly's annotations.
    annotation: dict[str, Any]


def place(point: tuple[float, float], text: str, size: float, sides: Sides, taken: Sequence[Box], frame: Box) -> Spot:
    """Find the spot next to `point` (in pixels) where a text covers the boxes `taken` least. Earlier sides win ties."""
    width, height = CHARACTER * size * len(text) + 4, 1.3 * size
    spots = [_spot(point, width, height, side, gap, taken, frame) for gap in GAPS for side in sides]
    return min(spots, key=lambda spot: spot.covered)


def _spot(
    point: tuple[float, float],
    width: float,
    height: float,
    side: tuple[int, int],
    gap: float,
    taken: Sequence[Box],
    frame: Box,
) -> Spot:
    right, up = side
    shift = gap if 0 in side else 0.65 * gap
    left = point[0] + right * shift + (right - 1) / 2 * width
    top = point[1] - up * shift - (up + 1) / 2 * height
    box = (left, top, left + width, top + height)
    outside = width * height - shared(box, frame)
    return Spot(
        box=box,
        covered=round(sum(shared(box, other) for other in taken) + OUTSIDE * outside),
        annotation={
            "xanchor": ("center", "left", "right")[right],
            "yanchor": ("middle", "bottom", "top")[up],
            "xshift": right * shift,
            "yshift": up * shift,
            "showarrow": False,
            "borderpad": 0,
        },
    )


def shared(a: Box, b: Box) -> float:
    """Return the area in which two boxes overlap, in pixels."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
