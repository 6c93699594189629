"""Runs of blocks of a template with their costs, lengthened block by block: the halves that `recover` joins.

What a block costs depends on its own choices, the channels that enter it and the size of its images, so each is counted
once, from the rows of the walk by threshnet.costs, and added to every run that may go on with it.
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
State = tuple[int, int]  # channels, and pools so far, where a run of blocks begins or ends
COLUMNS = ("params", "flops", "madd", "memory_bytes", "convs")


@dataclass(frozen=True)
class Frame:
    """What the networks of one enumeration share."""

    template: Template
    stem: StemSpec
    # Number of blocks, and how many of them, the first ones, are dense.
    blocks: int
    dense: int
    # Of the last block's output and of the head.
    dropouts: tuple[float, float]
    classes: int
    # Pixels.
    input_size: int

    def options(self, position: int) -> list[tuple[int, int]]:
        """Layers and growth that the block at a position, 0 the first, may have."""
        if position < self.dense:
            return [(layers, DENSE_GROWTH) for layers in self.template.dense_layers]
        return list(product(self.template.harmonic_layers, self.template.growths))

    def onward(self, state: State, position: int) -> Iterator[State]:
        """The states that this block may lead to, such that the blocks after it can end the network."""
        channels, pools = state
        after = self.blocks - 1 - position
        for pool in (False, True):
            left = POOLS - pools - pool
            if (pool if position == 0 else not (pool and after == 0)) and 0 <= left <= max(after - 1, 0):
                rising = [width for width in self.template.transitions if position == 0 or width > channels]
                yield from ((width, pools + pool) for width in rising[: len(rising) - after])

    def spec(self, codes: tuple[int, ...]) -> NetworkSpec:
        """The network of these choices, a code for each block, see Runs."""
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
class Runs:
    """n runs of blocks from one state to another."""

    # Sums of COLUMNS over the blocks, (5, n).
    costs: Ints
    # The choice at each of b blocks: place in Frame.options, then 1 for a pool, then place of the transition, (b, n).
    codes: NDArray[np.int16]
    # Place of the first and of the last harmonic block's growth in the template, 0 where there is none, (n,).
    first: Places
    last: Places


def edge(stem: StemSpec, input_size: int, pools: int) -> int:
    """Edge of the images after a stem and so many pools, pixels; InputError where none is left."""
    size = _stem(stem, input_size)[-1].size_out >> pools
    if size < 1:
        raise InputError(f"input size {input_size} is too small: the templates have {POOLS} pools after the stem")
    return size


def started(costs: Ints) -> Runs:
    """The run of no blocks, with what is counted before it, (5,)."""
    none = np.zeros(1, dtype=np.int8)
    return Runs(costs[:, None], np.zeros((0, 1), dtype=np.int16), none, none)


def extended(frame: Frame, runs: dict[State, Runs], position: int, most: Ints) -> dict[State, Runs]:
    """The runs gone on with the block at `position`, by their ends; those above `most` (5,) are left out."""
    harmonic = position >= frame.dense
    options = frame.options(position)
    growths = np.array(
        [frame.template.growths.index(growth) if harmonic else 0 for _, growth in options], dtype=np.int8
    )
    found: dict[State, list[Runs]] = {}
    for state, before in runs.items():
        if harmonic:
            left, right = np.nonzero(before.last[:, None] <= growths)
        else:
            left, right = (places.ravel() for places in np.indices((before.last.size, len(options))))
        opens = position == max(position - len(before.codes), frame.dense)  # its first harmonic block
        for onto in frame.onward(state, position):
            block = block_costs(frame, position, state, onto)
            sums = before.costs[:, left] + block[:, right]
            kept = np.flatnonzero((sums <= most[:, None]).all(axis=0))
            run, option = left[kept], right[kept]
            pool, width = onto[1] - state[1], frame.template.transitions.index(onto[0])
            code = ((2 * option + pool) * len(frame.template.transitions) + width).astype(np.int16)
            last = growths[option] if harmonic else before.last[run]
            first = last if opens else before.first[run]
            found.setdefault(onto, []).append(Runs(sums[:, kept], np.vstack([before.codes[:, run], code]), first, last))
    return {state: together(parts) for state, parts in found.items()}


def together(parts: list[Runs]) -> Runs:
    """Some runs, all of as many blocks, as one."""
    return Runs(
        np.concatenate([part.costs for part in parts], axis=1),
        np.concatenate([part.codes for part in parts], axis=1),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.last for part in parts]),
    )


def block_costs(frame: Frame, position: int, before: State, after: State) -> Ints:
    """COLUMNS (5, options) of a block that leads from one state to another, for each of its options."""
    size, last = edge(frame.stem, frame.input_size, before[1]), position == frame.blocks - 1
    dropout = frame.dropouts[0] if last else 0.0
    pool = after[1] > before[1]
    costs = []
    for layers, growth in frame.options(position):
        inside, channels = _layers(position < frame.dense, layers, growth, before[0], size)
        costs.append(np.add(inside, _ending(channels, size, after[0], pool, dropout)))
    return np.array(costs, dtype=np.int64).T


def stem_costs(frame: Frame) -> Ints:
    """COLUMNS of the stem, (5,)."""
    return np.array(_columns(_stem(frame.stem, frame.input_size)), dtype=np.int64)


def head_costs(frame: Frame, channels: int) -> Ints:
    """COLUMNS of the head on so many channels, (5,)."""
    block = harmonic_block(1, 2, channels)
    spec = NetworkSpec((block,), classes=frame.classes, head_dropout=frame.dropouts[1], stem=_entering(2))
    return np.array(_columns(_part(walk(spec, 1), "head")), dtype=np.int64)


@cache
def _stem(stem: StemSpec, input_size: int) -> tuple[Row, ...]:
    return _part(walk(NetworkSpec((harmonic_block(1, 2, 1),), stem=stem), input_size), "stem")


@cache
def _layers(dense: bool, layers: int, growth: int, channels: int, size: int) -> tuple[tuple[int, ...], int]:
    """COLUMNS of a block's layers, and the channels that it hands to its transition."""
    rows = _block_rows(make_block(dense, layers, growth, 1, False), channels, size, 0.0)
    transition = next(row for row in rows if not row.layer)
    return _columns([row for row in rows if row.layer]), transition.channels_in


@cache
def _ending(channels: int, size: int, transition: int, pool: bool, dropout: float) -> tuple[int, ...]:
    """COLUMNS of what follows a block's layers: dropout, transition, pool."""
    block = BlockSpec(links=((0,),), growth=channels, transition=transition, output="odd_and_last", pool=pool)
    return _columns([row for row in _block_rows(block, 1, size, dropout) if not row.layer])


def _block_rows(block: BlockSpec, channels: int, size: int, dropout: float) -> list[Row]:
    spec = NetworkSpec((block,), stem=_entering(channels), block_dropout=dropout)
    return [row for row in walk(spec, size) if row.block]


def _entering(channels: int) -> StemSpec:
    """A stem that hands on so many channels of the input's size."""
    return StemSpec((1, channels), stride=1, pool=False)


def _part(rows: tuple[Row, ...], name: str) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.name.startswith(f"{name}_"))


def _columns(rows: tuple[Row, ...] | list[Row]) -> tuple[int, ...]:
    costs = total(rows, 1)
    return (costs.params, costs.flops, costs.madd, costs.memory_bytes, convolutions(rows))


def convolutions(rows: tuple[Row, ...] | list[Row]) -> int:
    """Convolutions among the rows, the linear layer not counted."""
    return sum(row.op == "conv" for row in rows)
