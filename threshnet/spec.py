"""The network as data: frozen records that say everything about a network and validate themselves."""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from threshnet.errors import InputError
from threshnet.schedules import harmonic_links

Unit = Literal["bottleneck", "conv"]
Output = Literal["all", "odd_and_last"]
Activation = Literal["relu", "relu6"]
MAX_BLOCKS = 64
MAX_LAYERS = 64
MAX_WIDTH = 8192


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxtuple, _SHORT.maxlist, _SHORT.maxstring = 3, 12, 12, 80


def _check(ok: bool, field: str, value: object, allowed: str) -> None:
    """InputError where a value is not `ok`; a file may hold one of any size, so it is told in short."""
    if not ok:
        raise InputError(f"{field} = {_SHORT.repr(value)}: must be {allowed}")


def _is_int(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


@dataclass(frozen=True)
class StemSpec:
    """What stands before the first block: two 3x3 convolutions and, usually, a 3x3 max-pool of stride 2."""

    # Channels after the first and the second convolution.
    widths: tuple[int, int] = (32, 64)
    # Stride of the first convolution: 2 as published, 1 keeps the resolution of 32x32 images.
    stride: int = 2
    # Whether the max-pool follows.
    pool: bool = True

    def __post_init__(self) -> None:
        ok = (
            isinstance(self.widths, tuple)
            and len(self.widths) == 2
            and all(_is_int(w, 1, MAX_WIDTH) for w in self.widths)
        )
        _check(ok, "stem.widths", self.widths, f"two integers from 1 to {MAX_WIDTH}")
        _check(_is_int(self.stride, 1, 2), "stem.stride", self.stride, "1 or 2")
        _check(type(self.pool) is bool, "stem.pool", self.pool, "true or false")


@dataclass(frozen=True)
class BlockSpec:
    """One block of layers, its 1x1 transition convolution and, if `pool`, the 2x2 max-pool after it.

    Fields without effect take one value, so that equal blocks compare equal: a `conv` unit has bottleneck_width 0, and
    a block in which no layer keeps a second harmonic link has multiplier 1.
    """

    # Nodes that each layer reads, ascending, one tuple per layer; node 0 is the block's input.
    links: tuple[tuple[int, ...], ...]
    # Channels that a layer adds before the multiplier; at least 1.
    growth: int
    # Channels after the transition convolution.
    transition: int
    # "bottleneck": BN-act-1x1-BN-act-3x3, sources oldest first; "conv": 3x3-BN-act, sources nearest first.
    unit: Unit = "conv"
    # Channels between the two convolutions of a bottleneck; 0 for a conv unit.
    bottleneck_width: int = 0
    # Widening per harmonic link beyond the first, 1 to 4.
    multiplier: float = 1.0
    # What the block hands on: every node with its input, or the odd layers and the last one without it.
    output: Output = "all"
    # Whether a 2x2 max-pool follows the transition.
    pool: bool = False

    def __post_init__(self) -> None:
        depth = len(self.links) if isinstance(self.links, tuple) else 0
        _check(1 <= depth <= MAX_LAYERS, "depth (layers of a block)", depth, f"1 to {MAX_LAYERS}")
        for layer, nodes in enumerate(self.links, start=1):
            ok = isinstance(nodes, tuple) and all(_is_int(n, 0, layer - 1) for n in nodes)
            ok = ok and nodes == tuple(sorted(set(nodes))) and layer - 1 in nodes
            _check(
                ok, f"links of layer {layer}", nodes, f"ascending nodes from 0 to {layer - 1}, {layer - 1} among them"
            )
        _check(_is_int(self.growth, 1, MAX_WIDTH), "growth", self.growth, f"1 to {MAX_WIDTH}")
        _check(_is_int(self.transition, 1, MAX_WIDTH), "transition", self.transition, f"1 to {MAX_WIDTH}")
        _check(self.unit in get_args(Unit), "unit", self.unit, " or ".join(get_args(Unit)))
        _check(self.output in get_args(Output), "output", self.output, " or ".join(get_args(Output)))
        _check(type(self.pool) is bool, "pool", self.pool, "true or false")
        ok = type(self.multiplier) in (int, float) and 1 <= self.multiplier <= 4
        _check(ok, "multiplier", self.multiplier, "a number from 1 to 4")
        low = 1 if self.unit == "bottleneck" else 0
        _check(
            _is_int(self.bottleneck_width, low, MAX_WIDTH),
            "bottleneck_width",
            self.bottleneck_width,
            f"{low} to {MAX_WIDTH}",
        )
        if self.unit == "conv":
            object.__setattr__(self, "bottleneck_width", 0)
        widens = any(harmonic_links(layer, nodes) > 1 for layer, nodes in enumerate(self.links, start=1))
        object.__setattr__(self, "multiplier", float(self.multiplier) if widens else 1.0)

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
        """Nodes that the block hands to its transition, ascending."""
        if self.output == "all":
            return tuple(range(self.depth + 1))
        return tuple(layer for layer in range(1, self.depth + 1) if layer % 2 or layer == self.depth)


@dataclass(frozen=True)
class NetworkSpec:
    """A whole network: stem, blocks, global average pool, dropout and a linear layer."""

    blocks: tuple[BlockSpec, ...]
    stem: StemSpec = StemSpec()
    activation: Activation = "relu"
    # Dropout probability on the last block's output, before its transition; 0 to below 1, 0 = no such layer.
    block_dropout: float = 0.0
    # Dropout probability before the linear layer; 0 to below 1, 0 = no such layer.
    head_dropout: float = 0.0
    # Number of classes, at least 2.
    classes: int = 10

    def __post_init__(self) -> None:
        number = len(self.blocks) if isinstance(self.blocks, tuple) else 0
        _check(1 <= number <= MAX_BLOCKS, "blocks (their number)", number, f"1 to {MAX_BLOCKS}")
        ok = all(isinstance(block, BlockSpec) for block in self.blocks)
        _check(ok, "blocks", self.blocks, "a tuple of blocks")
        _check(isinstance(self.stem, StemSpec), "stem", self.stem, "a StemSpec")
        _check(
            self.activation in get_args(Activation), "activation", self.activation, " or ".join(get_args(Activation))
        )
        _check(_is_int(self.classes, 2, 1_000_000), "classes", self.classes, "2 to 1,000,000")
        for name in ("block_dropout", "head_dropout"):
            value = getattr(self, name)
            _check(type(value) in (int, float) and 0 <= value < 1, name, value, "a number from 0 to below 1")
            object.__setattr__(self, name, float(value) + 0.0)  # the sum turns -0.0, which is written apart, into 0.0

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON-ready values; `from_json` gives it back."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    @staticmethod
    def from_json(data: object) -> "NetworkSpec":
        """The spec that `to_json` wrote; InputError names an unknown, missing or wrong key."""
        top = _record(NetworkSpec, data, "network")
        blocks = top["blocks"]
        if not isinstance(blocks, list):
            raise InputError(f"blocks = {_SHORT.repr(blocks)}: must be a list of blocks")
        _check(len(blocks) <= MAX_BLOCKS, "blocks (their number)", len(blocks), f"1 to {MAX_BLOCKS}")
        parsed = []
        for number, block in enumerate(blocks, start=1):
            values = _record(BlockSpec, block, f"block {number}")
            values["links"] = _tuple(values["links"])
            try:
                parsed.append(BlockSpec(**values))
            except InputError as error:
                raise InputError(f"block {number}: {error}") from None
        if "stem" in top:
            stem = _record(StemSpec, top["stem"], "stem")
            if "widths" in stem:
                stem["widths"] = _tuple(stem["widths"])
            top["stem"] = StemSpec(**stem)
        return NetworkSpec(**{**top, "blocks": tuple(parsed)})

    def fingerprint(self) -> str:
        """Sixteen hex digits that are equal exactly for networks with the same layers, links, widths and dropouts.

        Growth and multiplier enter through the widths they give, so two ways to write one network share a fingerprint.
        """
        essence = self.to_json()
        for block, data in zip(self.blocks, essence["blocks"], strict=True):
            del data["growth"], data["multiplier"]
            data["widths"] = block.widths
        text = json.dumps(essence, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _record(kind: type, data: object, where: str) -> dict[str, Any]:
    """`data` as keyword arguments of the dataclass `kind`, its keys checked."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: must be a table of keys, not {type(data).__name__}")
    allowed = [field.name for field in fields(kind)]
    unknown = sorted(set(map(str, data)) - set(allowed))
    if unknown:
        raise InputError(f"{where}: unknown key {_SHORT.repr(unknown[0])}; allowed are {', '.join(allowed)}")
    required = {NetworkSpec: {"blocks"}, BlockSpec: {"links", "growth", "transition"}, StemSpec: set()}[kind]
    missing = sorted(required - set(data))
    if missing:
        raise InputError(f"{where}: key {missing[0]!r} is missing")
    return dict(data)


def _tuple(value: object) -> object:
    """A JSON list, and the lists in it, as tuples; what is deeper is wrong anyway and stays as it is."""
    if not isinstance(value, list):
        return value
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)
