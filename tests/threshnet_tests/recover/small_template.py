"""A template small enough to list all its networks, with the costs of each."""

from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product

from threshnet import NetworkSpec, StemSpec
from threshnet.costs import count
from threshnet.recover.partial import convolutions
from threshnet.recover.templates import DENSE_GROWTH, POOLS, Template, make_block
from threshnet.shapes import walk

SMALL = Template(
    name="small",
    stems=(StemSpec((4, 8)), StemSpec((6, 12), pool=False)),
    blocks=(4, 5),
    dense=(0, 3),
    dense_layers=(2,),
    harmonic_layers=(2, 3),
    growths=(6, 10),
    transitions=(16, 20, 24, 32, 48),
    dropouts=((0.0, 0.0), (0.1, 0.2)),
)
SIZE, CLASSES = 64, 7


def all_networks(template: Template) -> list[NetworkSpec]:
    """All networks of a template, enumerated directly from its rules."""
    networks = []
    for stem, number, dense, dropouts in product(template.stems, template.blocks, template.dense, template.dropouts):
        layers = product(*[template.dense_layers] * dense, *[template.harmonic_layers] * (number - dense))
        growths = combinations_with_replacement(template.growths, number - dense)
        pools = [{0, *middle} for middle in combinations(range(1, number - 1), POOLS - 1)]
        for depths, harmonic, widths, pooled in product(
            layers, growths, combinations(template.transitions, number), pools
        ):
            blocks = tuple(
                make_block(place < dense, depth, growth, width, place in pooled)
                for place, (depth, growth, width) in enumerate(
                    zip(depths, (*[DENSE_GROWTH] * dense, *harmonic), widths, strict=True)
                )
            )
            block, head = dropouts
            networks.append(NetworkSpec(blocks, stem, block_dropout=block, head_dropout=head, classes=CLASSES))
    return networks


def costs_of(spec: NetworkSpec, size: int = SIZE) -> tuple[int, ...]:
    """COLUMNS of a network, counted by threshnet.costs."""
    costs = count(spec, size)
    return (costs.params, costs.flops, costs.madd, costs.memory_bytes, convolutions(walk(spec, size)))


ONE = replace(SMALL, dropouts=SMALL.dropouts[1:], stems=SMALL.stems[:1])
NETWORKS = all_networks(ONE)
COSTS = {spec.fingerprint(): costs_of(spec) for spec in NETWORKS}
