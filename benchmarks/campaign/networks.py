"""The networks that the campaign trains before the finals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from benchmarks.cells import INPUT_SIZE, spec_of
from space import Space, decode
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

# The space of the rung networks. It is that of small images, whatever that space is today, with thresholds per block.
RUNG_SPACE = Space(
    name="rungs",
    classes=10,
    granularity="block",
    stems=(
        StemSpec((16, 32), stride=2, pool=False),
        StemSpec((32, 64), stride=2, pool=False),
        StemSpec((16, 32), stride=1, pool=True),
        StemSpec((32, 64), stride=1, pool=True),
        StemSpec((16, 32), stride=1, pool=False),
        StemSpec((32, 64)),
        StemSpec((48, 96)),
    ),
    activations=("relu",),
    blocks=(2, 3, 4, 5, 6),
    layers=(3, 4, 5, 6, 7, 8),
    thresholds=(0, 1, 2, 3),
    width_thresholds=(32,),
    units=("bottleneck", "conv"),
    bottleneck_widths=(32, 64, 96, 128),
    multipliers=(1.0, 1.3, 1.5, 1.7),
    outputs=("odd_and_last", "all"),
    growths=(8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 64, 80, 112, 160, 256, 320),
    transitions=(32, 48, 64, 96, 128, 192, 256, 288, 320, 384, 480, 512, 576, 640, 720, 960, 1024, 1280),
    pools=(False, True),
    block_dropouts=(0.0,),
    head_dropouts=(0.0,),
)

# Sizes of the rung networks: lowest and highest number of multiply-adds, in millions.
RUNG_SIZES: dict[str, tuple[int, int]] = {"s": (8, 14), "m": (18, 26), "l": (32, 42)}
MAX_PARAMS = 1_500_000  # as in the study cifar10_cpu_rungs


@cache
def rung_networks() -> dict[str, NetworkSpec]:
    """Return 12 networks, one drawn at random for each threshold and size."""
    keys = [(threshold, size) for threshold in range(len(THRESHOLD_NAMES)) for size in RUNG_SIZES]
    return {f"{THRESHOLD_NAMES[key[0]]}-{key[1]}": _drawn(*key, seed) for seed, key in enumerate(keys)}


def _drawn(threshold: int, size: str, seed: int) -> NetworkSpec:
    """Draw networks until one has the right size. Blocks have 3 to 8 layers, so that all thresholds differ."""
    space = replace(RUNG_SPACE, thresholds=(threshold,))
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


@dataclass(frozen=True)
class Widths:
    """The widths of a network of the factorial: growth, and channels after the transition, of each block."""

    growths: tuple[int, ...]
    transitions: tuple[int, ...]


@dataclass(frozen=True)
class FactorialSize:
    """One size of the factorial. Its networks differ in thresholds and widths only."""

    # Number of layers of each block.
    layers: int
    # Whether a pool follows each block.
    pools: tuple[bool, ...]
    # Widths of the dense network, to whose latency the widths of the other networks are scaled.
    dense: Widths


FACTORIAL_STEM = StemSpec((16, 32), stride=2, pool=False)
FACTORIAL_SIZES: dict[str, FactorialSize] = {
    "small": FactorialSize(6, (True, True), Widths((16, 32), (32, 64))),
    "large": FactorialSize(8, (True, True, False), Widths((16, 16, 32), (48, 96, 192))),
}


def factorial_network(threshold: int, size: FactorialSize, widths: Widths) -> NetworkSpec:
    """Return a network of the factorial."""
    blocks = zip(widths.growths, widths.transitions, size.pools, strict=True)
    return network(threshold, FACTORIAL_STEM, [(size.layers, *block) for block in blocks])
