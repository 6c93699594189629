"""The size of a space: its parameter points and the distinct networks they encode, counted exactly.

Blocks are independent of each other, so the number of networks is a sum of powers of the number of distinct blocks. A
block's layer widths depend on its links only through the harmonic counts that occur (see BlockSpec.widths), so its
schedules are grouped by the set of these counts. Only the schedules of one block are enumerated; those of granularity
`layer`, which are too many, are counted layer by layer.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, product

from space.definition import Space
from threshnet.schedules import DENSE, HARMONIC, harmonic_links, kept_links, schedule
from threshnet.spec import BlockSpec
from threshnet.units import unit_named

Counts = frozenset[int]  # the harmonic counts that occur in a block; a layer's count is harmonic_links of it


@dataclass(frozen=True)
class Size:
    """The size of a space, as points and as networks."""

    # Points of the parameter space: the product of the numbers of values of all choices.
    points: int
    # Networks with different fingerprints that `decode` can give; at most `points`.
    networks: int


def size(space: Space) -> Size:
    """The exact size of a space. The time grows with the lists of values, not with the number of points."""
    points = math.prod(len(choice.values) for choice in space.choices().values())
    around = len(space.activations) * len(space.block_dropouts) * len(space.head_dropouts)
    if space.granularity == "network":
        return Size(points, around * _width_threshold_networks(space))
    block = len(space.transitions) * sum(_blocks_of(space, depth) for depth in space.layers)
    return Size(points, around * len(space.stems) * sum(block**number for number in space.blocks))


def _blocks_of(space: Space, depth: int) -> int:
    """Distinct blocks of `depth` layers without the transition; for granularity `network`, at one threshold."""
    units = sum(len(space.bottleneck_widths) if unit_named(unit).has_bottleneck else 1 for unit in space.units)
    links_and_widths = sum(
        schedules * _width_vectors(space, depth, counts) for counts, schedules in _schedules(space, depth).items()
    )
    return links_and_widths * units * len(space.outputs) * len(space.pools)


def _width_vectors(space: Space, depth: int, counts: Counts) -> int:
    """Distinct widths that growth and multiplier give to layers with these harmonic counts."""
    widths = set()
    for growth, multiplier in product(space.growths, space.multipliers):
        # Layer 2^(k - 1) of a harmonic block keeps k harmonic links, so this block shows the width of every count.
        block = BlockSpec(schedule((HARMONIC,) * depth), growth, transition=1, multiplier=multiplier)
        widths.add(tuple(block.widths[2 ** (count - 1) - 1] for count in sorted(counts)))
    return len(widths)


def _schedules(space: Space, depth: int) -> Counter[Counts]:
    """The number of distinct schedules of `depth` layers, by the harmonic counts that occur in them."""
    match space.granularity:
        case "network":
            # Dense and harmonic blocks have the same harmonic counts; the input width decides which one it is.
            return Counter([_counts((HARMONIC,) * depth)])
        case "block":
            distinct = {_largest((threshold,) * depth) for threshold in space.thresholds}
            return Counter(_counts(thresholds) for thresholds in distinct)
        case "schedule":
            whole = {threshold: _largest((threshold,) * depth) for threshold in space.thresholds}
            # A switch beyond the block gives the same threshold in all layers, which switch 1 includes.
            switches = range(1, depth + 1)
            distinct = {
                whole[first][: switch - 1] + whole[rest][switch - 1 :]
                for first, rest, switch in product(space.thresholds, space.thresholds, switches)
            }
            return Counter(_counts(thresholds) for thresholds in distinct)
        case "layer":
            return _layer_schedules(space.thresholds, depth)


def _layer_schedules(thresholds: tuple[int, ...], depth: int) -> Counter[Counts]:
    """As `_schedules`, with a threshold per layer."""
    shorter: Counter[Counts] = Counter({Counts(): 1})
    for layer in range(1, depth + 1):
        options = Counter(harmonic_links(layer, nodes) for nodes in {kept_links(layer, t) for t in thresholds})
        longer: Counter[Counts] = Counter()
        for (counts, schedules), (count, ways) in product(shorter.items(), options.items()):
            longer[counts | {count}] += schedules * ways
        shorter = longer
    return shorter


def _largest(thresholds: Iterable[int]) -> tuple[int, ...]:
    """Thresholds as `encode` writes them: the largest of those that keep the same links."""
    return tuple(
        max(t for t in range(4) if kept_links(layer, t) == kept_links(layer, threshold))
        for layer, threshold in enumerate(thresholds, start=1)
    )


def _counts(thresholds: Iterable[int]) -> Counts:
    """The harmonic counts that occur in a block with these thresholds."""
    return Counts(harmonic_links(layer, kept_links(layer, t)) for layer, t in enumerate(thresholds, start=1))


def _width_threshold_networks(space: Space) -> int:
    """Distinct stems and blocks of granularity `network`.

    Raising the width threshold T turns blocks from harmonic to dense and never back, so the T that give one network are
    neighbours: adding the networks of every T and subtracting those that neighbours share counts each network once.
    """
    blocks = {depth: _blocks_of(space, depth) for depth in space.layers}
    total = sum(blocks.values())
    either = sum(n for depth, n in blocks.items() if schedule((DENSE,) * depth) == schedule((HARMONIC,) * depth))
    at_one: int = len(space.stems) * sum((total * len(space.transitions)) ** number for number in space.blocks)
    shared = 0
    for low, high in pairwise(space.width_thresholds):
        # A block with low <= input width < high is harmonic for one T and dense for the other, so count such a block
        # only if both are the same.
        inside = sum(low <= width < high for width in space.transitions)
        outside = len(space.transitions) - inside
        entered_inside = sum(low <= stem.widths[1] < high for stem in space.stems)
        entered_outside = len(space.stems) - entered_inside
        for number in range(1, space.blocks[-1] + 1):
            blocks_so_far = entered_inside * either + entered_outside * total
            entered_inside, entered_outside = blocks_so_far * inside, blocks_so_far * outside
            if number in space.blocks:
                shared += entered_inside + entered_outside
    return len(space.width_thresholds) * at_one - shared
