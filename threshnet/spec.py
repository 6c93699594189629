"""Networks as data: frozen, self-validating records that describe a network completely."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, Literal

from threshnet import strict
from threshnet.errors import require
from threshnet.schedules import harmonic_links
from threshnet.strict import Length, OneOf, Range
from threshnet.units import UNITS, unit_named

Unit = Annotated[str, OneOf(UNITS)]
Output = Literal["all", "odd_and_last"]
Activation = Literal["relu", "relu6"]
MAX_BLOCKS = 64
MAX_LAYERS = 64
MAX_WIDTH = 8192

Nodes = Annotated[tuple[int, ...], Length(MAX_LAYERS, "nodes that a layer reads")]
Width = Annotated[int, Range(1, MAX_WIDTH)]
Multiplier = Annotated[float, Range(1, 4)]
Dropout = Annotated[float, Range(0, below=1)]
Classes = Annotated[int, Range(2, 1_000_000)]


@dataclass(frozen=True)
class StemSpec:
    """The layers before the first block: two 3x3 convolutions and, usually, a 3x3 max-pool of stride 2."""

    # Channels after the first and the second convolution.
    widths: tuple[Width, Width] = (32, 64)
    # Stride of the first convolution: 2 as published, 1 keeps the resolution of 32x32 images.
    stride: Annotated[int, Range(1, 2)] = 2
    # Whether the max-pool follows.
    pool: bool = True

    def __post_init__(self) -> None:
        strict.check(self, "stem")


@dataclass(frozen=True)
class BlockSpec:
    """One block of layers, its 1x1 transition convolution and, if `pool`, the 2x2 max-pool after it.

    Fields without effect take one value, so that equal blocks compare equal: a unit without a bottleneck has
    bottleneck_width 0, and a block in which no layer keeps a second harmonic link has multiplier 1.
    """

    # Nodes that each layer reads, ascending, one tuple per layer; node 0 is the block's input.
    links: Annotated[tuple[Nodes, ...], Length(MAX_LAYERS, "depth (layers of a block)")]
    # Channels that a layer adds before the multiplier; at least 1.
    growth: Width
    # Channels after the transition convolution.
    transition: Width
    # The unit of its layers, a key of UNITS.
    unit: Unit = "conv"
    # Channels inside a unit that has a bottleneck; 0 for others.
    bottleneck_width: Annotated[int, Range(0, MAX_WIDTH)] = 0
    # Widening per harmonic link beyond the first, 1 to 4.
    multiplier: Multiplier = 1.0
    # Nodes passed to the transition: all nodes including the input, or only the odd layers and the last one.
    output: Output = "all"
    # Whether a 2x2 max-pool follows the transition.
    pool: bool = False

    def __post_init__(self) -> None:
        strict.check(self)
        require(1 <= self.depth <= MAX_LAYERS, "depth (layers of a block)", self.depth, f"1 to {MAX_LAYERS}")
        for layer, nodes in enumerate(self.links, start=1):
            ok = nodes == tuple(sorted(set(nodes))) and nodes[-1:] == (layer - 1,) and nodes[0] >= 0
            allowed = f"ascending nodes from 0 to {layer - 1}, {layer - 1} among them"
            require(ok, f"links of layer {layer}", nodes, allowed)
        bottleneck = unit_named(self.unit).has_bottleneck
        low = 1 if bottleneck else 0
        require(self.bottleneck_width >= low, "bottleneck_width", self.bottleneck_width, f"{low} to {MAX_WIDTH}")
        if not bottleneck:
            object.__setattr__(self, "bottleneck_width", 0)
        widens = any(harmonic_links(layer, nodes) > 1 for layer, nodes in enumerate(self.links, start=1))
        object.__setattr__(self, "multiplier", self.multiplier if widens else 1.0)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.links)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each layer: growth x multiplier^(harmonic links beyond the first), rounded to even.

        The rounding, int(int(w + 1) / 2) * 2, is HarDNet's (PingoLH/Pytorch-HarDNet, hardnet.py).
        """
        raw = (
            self.growth * self.multiplier ** (harmonic_links(layer, nodes) - 1)
            for layer, nodes in enumerate(self.links, start=1)
        )
        return tuple(int(int(width + 1) / 2) * 2 for width in raw)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Nodes that the block passes to its transition, ascending."""
        if self.output == "all":
            return tuple(range(self.depth + 1))
        return tuple(layer for layer in range(1, self.depth + 1) if layer % 2 or layer == self.depth)


@dataclass(frozen=True)
class NetworkSpec:
    """A whole network: stem, blocks, global average pool, dropout and a linear layer."""

    blocks: Annotated[tuple[BlockSpec, ...], Length(MAX_BLOCKS, "blocks (their number)")]
    stem: StemSpec = StemSpec()
    activation: Activation = "relu"
    # Dropout probability on the last block's output, before its transition; 0 to below 1, 0 = no such layer.
    block_dropout: Dropout = 0.0
    # Dropout probability before the linear layer; 0 to below 1, 0 = no such layer.
    head_dropout: Dropout = 0.0
    # Number of classes, at least 2.
    classes: Classes = 10

    def __post_init__(self) -> None:
        strict.check(self)
        number = len(self.blocks)
        require(1 <= number <= MAX_BLOCKS, "blocks (their number)", number, f"1 to {MAX_BLOCKS}")
        for name in ("block_dropout", "head_dropout"):
            # The sum turns -0.0 into 0.0, so that both have the same fingerprint.
            object.__setattr__(self, name, getattr(self, name) + 0.0)

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON-ready values; `from_json` restores it."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    @staticmethod
    def from_json(data: object) -> "NetworkSpec":
        """Restore a spec from `to_json`; raises InputError for an unknown, missing or wrong key."""
        return strict.read(data, NetworkSpec)

    def _repr_html_(self) -> str:
        """The connection schedule as a picture, for notebooks."""
        draw = resolve_name("threshnet.drawing:schedule_html")  # by name, as the drawing imports this module
        picture: str = draw(self)
        return picture

    def fingerprint(self) -> str:
        """A hash of 16 hex digits, equal if and only if layers, links, widths and dropouts are the same.

        Growth and multiplier count only through the resulting widths, so equal networks share a fingerprint even if
        they are specified differently.
        """
        canonical = self.to_json()
        for block, data in zip(self.blocks, canonical["blocks"], strict=True):
            del data["growth"], data["multiplier"]
            data["widths"] = block.widths
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
