"""The networks that the campaign trains before the finals."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from benchmarks.cells import INPUT_SIZE, spec_of
from space import SMALL_IMAGES, decode
from threshnet.costs import count
from threshnet.schedules import CHAIN, THRESHOLD_NAMES, schedule
from threshnet.shapes import smallest_input
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec

Block = tuple[int, int, int, bool]  # layers, growth, channels after the transition, and whether a pool follows


def network(threshold: int, stem: StemSpec, blocks: Sequence[Block]) -> NetworkSpec:
    """Return a network with one threshold in all layers, 3x3 convolutions as units, and all nodes as block outputs."""
    return NetworkSpec(
        tuple(
            BlockSpec(schedule((threshold,) * layers), growth, transition, pool=pool)
            for layers, growth, transition, pool in blocks
        ),
        stem,
    )


# A small network for the recipes: 0.45 M parameters and about 0.4 times the latency of ThreshNet28.
SMALL_CHAIN = network(CHAIN, StemSpec((32, 64)), ((6, 48, 96, True), (4, 72, 160, False)))

# The networks of both rounds of recipes; the first round uses the first two.
RECIPE_NETWORKS: dict[str, NetworkSpec] = {
    "threshnet28": spec_of("threshnet28"),
    "small-chain": SMALL_CHAIN,
    "threshnet79": spec_of("threshnet79"),
}

# Sizes of the rung networks: lowest and highest number of multiply-adds, in millions.
RUNG_SIZES: dict[str, tuple[int, int]] = {"s": (8, 14), "m": (18, 26), "l": (32, 42)}
MAX_PARAMS = 1_500_000  # as in the study cifar10_cpu_rungs


@cache
def rung_networks() -> dict[str, NetworkSpec]:
    """Return 12 networks of the space of small images, one drawn at random for each threshold and size."""
    keys = [(threshold, size) for threshold in range(len(THRESHOLD_NAMES)) for size in RUNG_SIZES]
    return {f"{THRESHOLD_NAMES[key[0]]}-{key[1]}": _drawn(*key, seed) for seed, key in enumerate(keys)}


def _drawn(threshold: int, size: str, seed: int) -> NetworkSpec:
    """Draw networks until one has the right size. Blocks have 3 to 8 layers, so that all thresholds differ."""
    space = replace(
        SMALL_IMAGES,
        activations=("relu",),
        layers=(3, 4, 5, 6, 7, 8),
        thresholds=(threshold,),
        block_dropouts=(0.0,),
        head_dropouts=(0.0,),
    )
    lowest, highest = (1_000_000 * macs for macs in RUNG_SIZES[size])
    random = np.random.RandomState(seed)  # its stream never changes (NEP 19)
    while True:
        codes = {name: int(random.randint(d.low, d.high + 1)) for name, d in space.distributions().items()}
        spec = decode(space, codes)
        if smallest_input(spec) > INPUT_SIZE:
            continue
        costs = count(spec, INPUT_SIZE)
        if lowest <= costs.macs <= highest and costs.params <= MAX_PARAMS:
            return spec


# Stem and blocks of the factorial's two sizes at scale 1.
FACTORIAL_STEM = StemSpec((16, 32), stride=2, pool=False)
FACTORIAL_SIZES: dict[str, tuple[Block, ...]] = {
    "small": ((6, 12, 32, True), (6, 24, 64, True)),
    "large": ((8, 16, 48, True), (8, 24, 96, True), (8, 48, 192, False)),
}


def factorial_network(threshold: int, size: str, scale: float) -> NetworkSpec:
    """Return a network of the factorial: the widths of all blocks are multiplied by `scale` and rounded to even."""
    blocks = [(layers, _even(scale * g), _even(scale * t), pool) for layers, g, t, pool in FACTORIAL_SIZES[size]]
    return network(threshold, FACTORIAL_STEM, blocks)


def _even(width: float) -> int:
    return max(2, 2 * round(width / 2))
