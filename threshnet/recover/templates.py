"""Templates for `threshnet recover`: families of networks with dense and harmonic blocks, as literal data.

A template is much smaller than the search space. Dense blocks come first, then harmonic ones, as with ThreshNet's
single threshold on the input width. Widths increase and harmonic growths never decrease from block to block. There are
three pools, the first one after the first block. Everything that the named networks have in common is fixed.
"""

import math
from dataclasses import dataclass

from threshnet.named import dense_block, harmonic_block
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec
from threshnet.units import unit_named

POOLS = 3  # number of blocks followed by a pool: always the first, never the last
DENSE_GROWTH = 32


@dataclass(frozen=True)
class Template:
    """A family of networks: all combinations of its values that satisfy the rules above."""

    name: str
    stems: tuple[StemSpec, ...]
    # Number of blocks, and number of dense blocks among them, which come first.
    blocks: tuple[int, ...]
    dense: tuple[int, ...]
    # Layers of a block.
    dense_layers: tuple[int, ...]
    harmonic_layers: tuple[int, ...]
    # Growth of a harmonic block, never less than in the previous harmonic block; dense blocks have DENSE_GROWTH.
    growths: tuple[int, ...]
    # Channels after a block, always more than after the previous block.
    transitions: tuple[int, ...]
    # Dropout on the last block's output and in the head; torchstat counts the outputs of both.
    dropouts: tuple[tuple[float, float], ...]

    @property
    def size(self) -> int:
        """Number of networks, all different."""
        around = len(self.stems) * len(self.dropouts)
        return around * sum(self._blocks(number, dense) for number in self.blocks for dense in self.dense)

    def _blocks(self, number: int, dense: int) -> int:
        """Number of networks with `number` blocks, not counting stems and dropouts."""
        harmonic = number - dense
        layers = math.prod([len(self.dense_layers)] * dense + [len(self.harmonic_layers)] * harmonic)
        growths = math.comb(len(self.growths) + harmonic - 1, harmonic)
        return math.comb(len(self.transitions), number) * layers * growths * math.comb(number - 2, POOLS - 1)

    def contains(self, spec: NetworkSpec) -> bool:
        """True if the network is in the template, whatever its activation and number of classes."""
        dense = sum(unit_named(block.unit).block_name == "dense" for block in spec.blocks)
        pooled = [block.pool for block in spec.blocks]
        widths = [block.transition for block in spec.blocks]
        growths = [block.growth for block in spec.blocks[dense:]]
        return (
            spec.stem in self.stems
            and len(spec.blocks) in self.blocks
            and dense in self.dense
            and (spec.block_dropout, spec.head_dropout) in self.dropouts
            and (pooled[0], pooled[-1], sum(pooled)) == (True, False, POOLS)
            and set(widths) <= set(self.transitions)
            and widths == sorted(set(widths))
            and set(growths) <= set(self.growths)
            and growths == sorted(growths)
            and all(self._contains_block(block, number < dense) for number, block in enumerate(spec.blocks))
        )

    def _contains_block(self, block: BlockSpec, dense: bool) -> bool:
        if block.depth not in (self.dense_layers if dense else self.harmonic_layers):
            return False
        growth = DENSE_GROWTH if dense else block.growth
        return block == make_block(dense, block.depth, growth, block.transition, block.pool)

    @property
    def summary(self) -> tuple[str, ...]:
        """Summary of the template in lines of text."""
        stems = ", ".join(f"{stem.widths[0]}-{stem.widths[1]}" for stem in self.stems)
        dropouts = ", ".join(f"{block:g} and {head:g}" for block, head in self.dropouts)
        return (
            f"Template {self.name}: {self.size:,} networks",
            f"  stem {stems}; {_list(self.blocks)} blocks, the first {_list(self.dense)} dense, the others harmonic",
            f"  dense x {_list(self.dense_layers)}, growth {DENSE_GROWTH}, bottleneck 128" if any(self.dense) else "",
            f"  harmonic x {_list(self.harmonic_layers)}, multiplier 1.7, non-decreasing growth: {_list(self.growths)}",
            f"  increasing transitions: {_list(self.transitions)}",
            f"  {POOLS} pools, one after the first block, none after the last; dropout (last block, head) {dropouts}",
        )


def make_block(dense: bool, layers: int, growth: int, transition: int, pool: bool) -> BlockSpec:
    """A block of a template."""
    return (dense_block if dense else harmonic_block)(layers, growth, transition, pool=pool)


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


# The grids contain the values of the named networks and others between them.
THRESHNET = Template(
    name="threshnet",
    stems=(StemSpec((32, 64)),),
    blocks=(5,),
    dense=(1, 2, 3, 4),
    dense_layers=(4, 6, 8, 12, 16),
    harmonic_layers=(2, 3, 4, 8, 12, 16),
    growths=(16, 24, 32, 40, 48, 64, 80, 160, 320),
    transitions=(128, 192, 256, 288, 320, 384, 480, 512, 576, 640, 720, 960, 1024),
    dropouts=((0.0, 0.0),),
)
HARDNET = Template(
    name="hardnet",
    stems=(StemSpec((32, 64)), StemSpec((48, 96))),
    blocks=(5, 6),
    dense=(0,),
    dense_layers=(),
    harmonic_layers=(4, 8, 16),
    growths=(14, 16, 20, 24, 28, 36, 40, 48, 160, 256),
    transitions=(128, 192, 256, 320, 480, 640, 720, 1024, 1280),
    dropouts=((0.0, 0.0), (0.0, 0.1), (0.1, 0.2)),
)
TEMPLATES: dict[str, Template] = {template.name: template for template in (THRESHNET, HARDNET)}
