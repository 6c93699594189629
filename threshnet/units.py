"""Block units: the modules of one layer of a block.

To add one, write an entry of UNITS. The walk adds the rows of its parts; the builder, the
cost counters and the exporters read the rows.
"""

from dataclasses import dataclass
from typing import Literal

from threshnet.errors import InputError


@dataclass(frozen=True)
class Conv:
    """A convolution of stride 1, without bias."""

    # Edge of its kernel, pixels.
    kernel: Literal[1, 3]
    # Its output channels: the width of the layer, or the block's bottleneck width.
    channels: Literal["width", "bottleneck_width"]


@dataclass(frozen=True)
class NormAct:
    """A batch norm and the network's activation."""


@dataclass(frozen=True)
class Unit:
    """One layer of a block; raises ValueError if its last convolution does not have the layer's width."""

    # Its origin, as a clause.
    about: str
    # From the layer's sources, concatenated, to its output.
    parts: tuple[Conv | NormAct, ...]
    # The order in which the sources are concatenated.
    sources: Literal["oldest first", "nearest first"]
    # Name of a block of this unit in the published tables.
    block_name: str

    def __post_init__(self) -> None:
        convs = [part for part in self.parts if isinstance(part, Conv)]
        if not convs or convs[-1].channels != "width":
            raise ValueError(f"the unit {self.about!r} must have a convolution, the last one to the layer's width")

    @property
    def has_bottleneck(self) -> bool:
        """True if its blocks have a bottleneck width."""
        return any(isinstance(part, Conv) and part.channels == "bottleneck_width" for part in self.parts)

    @property
    def text(self) -> str:
        """Its parts in short: "BN-act-1x1-BN-act-3x3"."""
        return "-".join(f"{part.kernel}x{part.kernel}" if isinstance(part, Conv) else "BN-act" for part in self.parts)


UNITS: dict[str, Unit] = {
    "bottleneck": Unit(
        about="the bottleneck layer of DenseNet",
        parts=(NormAct(), Conv(1, "bottleneck_width"), NormAct(), Conv(3, "width")),
        sources="oldest first",
        block_name="dense",
    ),
    "conv": Unit(
        about="the layer of HarDNet",
        parts=(Conv(3, "width"), NormAct()),
        sources="nearest first",
        block_name="harmonic",
    ),
}


def unit_named(name: str) -> Unit:
    """The unit called `name`; raises InputError listing all units."""
    if name not in UNITS:
        raise InputError(f"unit = {name!r}: must be one of {', '.join(UNITS)}")
    return UNITS[name]
