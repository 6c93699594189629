"""A toy of each kind that can be added: the one entry, and the dict it goes into."""

from pathlib import Path
from typing import Any

from search.datasets.named import DATASETS, Dataset
from search.latency.devices.named import DEVICES, DeviceKind
from search.samplers.named import SAMPLERS, Sampler
from search.training.recipes import RECIPES, Recipe
from threshnet.units import UNITS, Conv, NormAct, Unit

SAMPLER = {
    # --8<-- [start:sampler]
    "smallest": Sampler(
        factory="extension_tests.toy_sampler:smallest",
        about="the smallest of ten random networks",
    ),
    # --8<-- [end:sampler]
}

DATA_SET = {
    # --8<-- [start:data_set]
    "stripes": Dataset(
        title="stripes",
        about="100 grey images of noise with horizontal or vertical stripes",
        reader="extension_tests.toy_data_set:read_stripes",
        classes=("horizontal", "vertical"),
        home=Path(),
        flip=True,
        caveat="generated images",
    ),
    # --8<-- [end:data_set]
}

DEVICE = {
    # --8<-- [start:device]
    "npu": DeviceKind(
        forms=("npu",),
        about="the accelerator of this machine",
        parser="extension_tests.toy_device:npu_device",
        example="npu",
    ),
    # --8<-- [end:device]
}

RECIPE = {
    # --8<-- [start:recipe]
    "brief": Recipe(
        name="brief",
        epochs=2,
        batch=16,
        optimiser="adam",
        learning_rate=1e-2,
        schedule="one_cycle",
        weight_decay=0.0,
        label_smoothing=0.0,
        flip="where_allowed",
        shift=1,
        averaged=False,
        mixed=False,
    ),
    # --8<-- [end:recipe]
}

UNIT = {
    # --8<-- [start:unit]
    "squeeze": Unit(
        about="a bottleneck layer whose activations come last",
        parts=(Conv(1, "bottleneck_width"), NormAct(), Conv(3, "width"), NormAct()),
        sources="nearest first",
        block_name="squeeze",
    ),
    # --8<-- [end:unit]
}

TOYS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (SAMPLERS, SAMPLER),
    (DATASETS, DATA_SET),
    (DEVICES, DEVICE),
    (RECIPES, RECIPE),
    (UNITS, UNIT),
)


def add() -> None:
    """Add every toy to its dict."""
    for table, toy in TOYS:
        table.update(toy)
