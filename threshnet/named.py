"""The named networks, as literals, each with its source.

Sources: the ThreshNet repository (MIT) for ThreshNet79 and ThreshNet95, PingoLH/Pytorch-HarDNet (MIT) for HarDNet68 and
HarDNet85. Published head sizes: 10 classes for the ThreshNets, 1000 for the HarDNets.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from threshnet.errors import InputError
from threshnet.schedules import DENSE, HARMONIC, schedule
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec


def dense_block(depth: int, growth: int, transition: int, *, pool: bool = False) -> BlockSpec:
    """A ThreshNet block below the threshold: DenseNet bottlenecks of width 128, all nodes passed to the transition."""
    return BlockSpec(
        links=schedule((DENSE,) * depth),
        growth=growth,
        transition=transition,
        unit="bottleneck",
        bottleneck_width=128,
        output="all",
        pool=pool,
    )


def harmonic_block(depth: int, growth: int, transition: int, *, pool: bool = False) -> BlockSpec:
    """A HarDNet block: 3x3 conv units, multiplier 1.7, odd layers and the last one passed to the transition."""
    return BlockSpec(
        links=schedule((HARMONIC,) * depth),
        growth=growth,
        transition=transition,
        unit="conv",
        multiplier=1.7,
        output="odd_and_last",
        pool=pool,
    )


THRESHNET28 = NetworkSpec(
    blocks=(
        dense_block(6, 32, 128, pool=True),
        harmonic_block(2, 16, 480),
        harmonic_block(2, 16, 512, pool=True),
        harmonic_block(2, 80, 576, pool=True),
        harmonic_block(3, 320, 1024),
    ),
)

THRESHNET79 = NetworkSpec(
    blocks=(
        dense_block(6, 32, 128, pool=True),
        dense_block(8, 32, 192, pool=True),
        dense_block(12, 32, 288),
        harmonic_block(16, 40, 480, pool=True),
        harmonic_block(4, 160, 960),
    ),
)

THRESHNET95 = NetworkSpec(
    blocks=(
        dense_block(6, 32, 128, pool=True),
        dense_block(12, 32, 256, pool=True),
        dense_block(16, 32, 384),
        harmonic_block(16, 40, 480, pool=True),
        harmonic_block(4, 160, 960),
    ),
)

HARDNET68 = NetworkSpec(
    activation="relu6",
    head_dropout=0.1,
    classes=1000,
    blocks=(
        harmonic_block(8, 14, 128, pool=True),
        harmonic_block(16, 16, 256),
        harmonic_block(16, 20, 320, pool=True),
        harmonic_block(16, 40, 640, pool=True),
        harmonic_block(4, 160, 1024),
    ),
)

HARDNET85 = NetworkSpec(
    stem=StemSpec(widths=(48, 96)),
    activation="relu6",
    block_dropout=0.1,
    head_dropout=0.2,
    classes=1000,
    blocks=(
        harmonic_block(8, 24, 192, pool=True),
        harmonic_block(16, 24, 256),
        harmonic_block(16, 28, 320, pool=True),
        harmonic_block(16, 36, 480),
        harmonic_block(16, 48, 720, pool=True),
        harmonic_block(4, 256, 1280),
    ),
)

NAMED: dict[str, NetworkSpec] = {
    "threshnet28": THRESHNET28,
    "threshnet79": THRESHNET79,
    "threshnet95": THRESHNET95,
    "hardnet68": HARDNET68,
    "hardnet85": HARDNET85,
}


@dataclass(frozen=True)
class About:
    """Display name of a named network and the source of its layers."""

    title: str
    origin: str


ABOUT: dict[str, About] = {
    "threshnet28": About(
        "ThreshNet28",
        "a reconstruction: its layers were never released; these match its published costs, as many other layouts do",
    ),
    "threshnet79": About("ThreshNet79", "as released by its authors"),
    "threshnet95": About("ThreshNet95", "as released by its authors"),
    "hardnet68": About("HarDNet68", "as released by its authors"),
    "hardnet85": About("HarDNet85", "as released by its authors"),
}


def named(name: str, also: Iterable[str] = ()) -> NetworkSpec:
    """The network called `name` (case-insensitive); raises InputError listing all names, with those in `also`."""
    spec = NAMED.get(name.lower())
    if spec is None:
        raise InputError(f"no network is named {name!r}; choose from {', '.join([*NAMED, *also])}")
    return spec
