"""ImageFolder trees of images that differ in their only color, and functions that read such splits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from search.data import Split
from threshnet.errors import InputError


def write_image(file: Path, value: int, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(file)


def write_tree(root: Path, train: dict[str, int], test: dict[str, int] | None = None) -> Path:
    """Write images of a single color each, all different, `train[c]` of them for class c."""
    value = 0
    for part, counts in (("train", train), ("test", test or {})):
        for name, count in counts.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                write_image(root / part / name / f"{i:03d}.png", value)
                value += 1
    return root


def colors(split: Split) -> list[int]:
    """The color of each image, which identifies it."""
    assert (split.images == split.images[:, :1, :1, :1]).all()
    return [int(image[0, 0, 0]) for image in split.images]


def contents(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def message(call: Callable[[], object]) -> str:
    """The message of the InputError that a call raises, which must be one line."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)
