"""Studies and images small enough to launch within seconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from search_tests.tiny import NETWORK, QUICK, SIZE, SPACE

from search.data import DataSettings
from search.training.recipes import FAST
from studies.spec import StudySpec
from threshnet.spec import NetworkSpec

TREE_NETWORK: NetworkSpec = NETWORK  # two classes, like the tree


def small_spec(tree: Path | None = None, **changes: Any) -> StudySpec:  # noqa: ANN401 - any field's value
    """Make the spec of a study of three networks on the digits, or on the images of `tree`."""
    spec = StudySpec(
        name="small",
        trials=3,
        about="A study for the tests",
        sampler="random",
        input_size=SIZE,
        space=SPACE,
        data=DataSettings("digits", train=40, validation=20) if tree is None else DataSettings("folder", tree),
        recipe=replace(FAST, epochs=1, batch=16),
        protocol=QUICK,
    )
    return replace(spec, **changes)


def write_tree(root: Path, train: int = 30, test: int = 10) -> Path:
    """Write `train` and `test` noise images of each of two classes, which differ in brightness."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for name, floor in (("bright", 127), ("dark", 0)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = floor + rng.integers(0, 128, (SIZE, SIZE, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03d}.png")
    return root
