"""Partial networks of a template and their costs, extended block by block; `recover` joins pairs of them.

The costs of a block depend only on its own choices, its input channels and its map size. The costs of each block are
computed once and added to every partial network that the block can extend.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from threshnet.costs import total
from threshnet.errors import InputError
from threshnet.named import harmonic_block
from threshnet.recover.templates import DENSE_GROWTH, POOLS, Template, make_block
from threshnet.shapes import Row, walk
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec

Ints = NDArray[np.int64]
Places = NDArray[np.int8]
State = tuple[int, int]  # channels, and number of pools so far, at the start or end of a partial network
COLUMNS = ("params", "flops", "madd", "memory_bytes", "convs")


@dataclass(frozen=True)
class Frame:
    """Choices that all networks of one enumeration share."""

    template: Template
    stem: StemSpec
    # Number of blocks, and number of dense blocks among them, which come first.
    blocks: int
    dense: int
    # On the last block's output and in the head.
    dropouts: tuple[float, float]
    classes: int
    # Pixels.
    input_size: int

    def options(self, position: int) -> list[tuple[int, int]]:
        """Possible (layers, growth) of the block at a position, counted from 0."""
        if position < self.dense:
            return [(layers, DENSE_GROWTH) for layers in self.template.dense_layers]
        return list(product(self.template.harmonic_layers, self.template.growths))

    def next_states(self, state: State, position: int) -> Iterator[State]:
        """Possible states after the block at a position, from which the remaining blocks can complete the network."""
        channels, pools = state
        after = self.blocks - 1 - position
        for pool in (False, True):
            left = POOLS - pools - pool
            if (pool if position == 0 else not (pool and after == 0)) and 0 <= left <= max(after - 1, 0):
                wider = [width for width in self.template.transitions if position == 0 or width > channels]
                yield from ((width, pools + pool) for width in wider[: len(wider) - after])

    def spec(self, codes: tuple[int, ...]) -> NetworkSpec:
        """The network with these choices, one code per block (see PartialNetworks)."""
        blocks = []
        for position, code in enumerate(codes):
            rest, transition = divmod(code, len(self.template.transitions))
            option, pool = divmod(rest, 2)
            layers, growth = self.options(position)[option]
            width = self.template.transitions[transition]
            blocks.append(make_block(position < self.dense, layers, growth, width, bool(pool)))
        block, head = self.dropouts
        return NetworkSpec(tuple(blocks), stem=self.stem, block_dropout=block, head_dropout=head, classes=self.classes)


@dataclass(frozen=True)
class PartialNetworks:
    """n partial networks that begin in one state and end in one state."""

    # Sums of COLUMNS over the blocks, (5, n).
    costs: Ints
    # Choices of the b blocks, (b, n): (index in Frame.options, pool, index of the transition) as a mixed-radix number.
    codes: NDArray[np.int16]
    # Index of the growth of the first and the last harmonic block in the template, 0 if there is none, (n,).
    first: Places
    last: Places


def map_size(stem: StemSpec, input_size: int, pools: int) -> int:
    """Size of the feature maps after a stem and some pools, pixels; raises InputError if it is zero."""
    size = _stem(stem, input_size)[-1].size_out >> pools
    if size < 1:
        raise InputError(f"input size {input_size} is too small: the templates have {POOLS} pools after the stem")
    return size


def empty_partial(costs: Ints) -> PartialNetworks:
    """A partial network without blocks that starts at the given costs (5,)."""
    none = np.zeros(1, dtype=np.int8)
    return PartialNetworks(costs[:, None], np.zeros((0, 1), dtype=np.int16), none, none)


def extend(frame: Frame, runs: dict[State, PartialNetworks], position: int, most: Ints) -> dict[State, PartialNetworks]:
    """Extend partial networks by the block at `position`, keyed by end state; drops those above `most` (5,)."""
    harmonic = position >= frame.dense
    options = frame.options(position)
    growths = np.array(
        [frame.template.growths.index(growth) if harmonic else 0 for _, growth in options], dtype=np.int8
    )
    extensions: dict[State, list[PartialNetworks]] = {}
    for state, before in runs.items():
        if harmonic:
            left, right = np.nonzero(before.last[:, None] <= growths)
        else:
            left, right = (places.ravel() for places in np.indices((before.last.size, len(options))))
        opens = position == max(position - len(before.codes), frame.dense)  # its first harmonic block
        for onto in frame.next_states(state, position):
            block = block_costs(frame, position, state, onto)
            sums = before.costs[:, left] + block[:, right]
            kept = np.flatnonzero((sums <= most[:, None]).all(axis=0))
            run, option = left[kept], right[kept]
            pool, width = onto[1] - state[1], frame.template.transitions.index(onto[0])
            code = ((2 * option + pool) * len(frame.template.transitions) + width).astype(np.int16)
            last = growths[option] if harmonic else before.last[run]
            first = last if opens else before.first[run]
            extensions.setdefault(onto, []).append(
                PartialNetworks(sums[:, kept], np.vstack([before.codes[:, run], code]), first, last)
            )
    return {state: concatenate(parts) for state, parts in extensions.items()}


def concatenate(parts: list[PartialNetworks]) -> PartialNetworks:
    """Concatenate partial networks with equal numbers of blocks."""
    return PartialNetworks(
        np.concatenate([part.costs for part in parts], axis=1),
        np.concatenate([part.codes for part in parts], axis=1),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.last for part in parts]),
    )


def block_costs(frame: Frame, position: int, before: State, after: State) -> Ints:
    """COLUMNS (5, options) of a block between two states, for each of its options."""
    size, last = map_size(frame.stem, frame.input_size, before[1]), position == frame.blocks - 1
    dropout = frame.dropouts[0] if last else 0.0
    pool = after[1] > before[1]
    costs = []
    for layers, growth in frame.options(position):
        inside, channels = _layer_costs(position < frame.dense, layers, growth, before[0], size)
        costs.append(np.add(inside, _rest_costs(channels, size, after[0], pool, dropout)))
    return np.array(costs, dtype=np.int64).T


def stem_costs(frame: Frame) -> Ints:
    """COLUMNS of the stem, (5,)."""
    return np.array(_columns(_stem(frame.stem, frame.input_size)), dtype=np.int64)


def head_costs(frame: Frame, channels: int) -> Ints:
    """COLUMNS of the head for a number of input channels, (5,)."""
    block = harmonic_block(1, 2, channels)
    spec = NetworkSpec((block,), classes=frame.classes, head_dropout=frame.dropouts[1], stem=_stem_with(2))
    return np.array(_columns(_part(walk(spec, 1), "head")), dtype=np.int64)


@cache
def _stem(stem: StemSpec, input_size: int) -> tuple[Row, ...]:
    return _part(walk(NetworkSpec((harmonic_block(1, 2, 1),), stem=stem), input_size), "stem")


@cache
def _layer_costs(dense: bool, layers: int, growth: int, channels: int, size: int) -> tuple[tuple[int, ...], int]:
    """COLUMNS of a block's layers, and the number of channels passed to its transition."""
    rows = _block_rows(make_block(dense, layers, growth, 1, False), channels, size, 0.0)
    transition = next(row for row in rows if not row.layer)
    return _columns([row for row in rows if row.layer]), transition.channels_in


@cache
def _rest_costs(channels: int, size: int, transition: int, pool: bool, dropout: float) -> tuple[int, ...]:
    """COLUMNS of the rest of a block after its layers: dropout, transition, pool."""
    block = BlockSpec(links=((0,),), growth=channels, transition=transition, output="odd_and_last", pool=pool)
    return _columns([row for row in _block_rows(block, 1, size, dropout) if not row.layer])


def _block_rows(block: BlockSpec, channels: int, size: int, dropout: float) -> list[Row]:
    spec = NetworkSpec((block,), stem=_stem_with(channels), block_dropout=dropout)
    return [row for row in walk(spec, size) if row.block]


def _stem_with(channels: int) -> StemSpec:
    """A stem with this number of output channels that keeps the input's size."""
    return StemSpec((1, channels), stride=1, pool=False)


def _part(rows: tuple[Row, ...], name: str) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.name.startswith(f"{name}_"))


def _columns(rows: tuple[Row, ...] | list[Row]) -> tuple[int, ...]:
    costs = total(rows, 1)
    return (costs.params, costs.flops, costs.madd, costs.memory_bytes, convolutions(rows))


def convolutions(rows: tuple[Row, ...] | list[Row]) -> int:
    """Number of convolutions among the rows, not counting the linear layer."""
    return sum(row.op == "conv" for row in rows)
