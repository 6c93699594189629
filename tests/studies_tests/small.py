"""Studies and images small enough to launch within seconds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna import Study
from PIL import Image
from search_tests.tiny import NETWORK, QUICK, SIZE, SPACE

from search import records
from search.data import DataSettings
from search.training.recipes import FAST
from space import Space, contains, encode
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


def name_networks(monkeypatch: pytest.MonkeyPatch, networks: Mapping[str, NetworkSpec], *, first: bool = False) -> None:
    """Let every study name those of `networks` that its space contains, with its number of classes.

    With `first`, they are trained before all others, as in studies of earlier versions: trial 0 is the first network.
    """

    def named(texts: object, space: Space, input_size: int) -> dict[str, NetworkSpec]:
        adapted = {name: replace(network, classes=space.classes) for name, network in networks.items()}
        return {name: network for name, network in adapted.items() if contains(space, network)}

    def queue(study: Study, space: Space, named: Mapping[str, NetworkSpec]) -> None:
        names = {trial.user_attrs.get(records.NAMED) for trial in study.trials}
        for name, network in named.items():
            if name not in names:
                study.enqueue_trial(encode(space, network), user_attrs={records.NAMED: name})

    monkeypatch.setattr("studies.study.named_networks", named)
    if first:
        monkeypatch.setattr("search.run.queue_measurements", queue)


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
