"""The walk: turns a spec and an input size into rows, the straight-line program that everything else reads.

Each row is one leaf module. Its input is the channel-wise concatenation of the outputs of its source rows, in order.
The module builder runs the rows, the cost counters add them up, and the exporters write them as code; none of them
reads the fields of a spec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from threshnet.errors import InputError
from threshnet.spec import BlockSpec, NetworkSpec
from threshnet.units import Conv, unit_named

Op = Literal["conv", "norm", "relu", "relu6", "max_pool", "dropout", "avg_pool", "flatten", "linear"]
IMAGE = -1  # the source index of the input image
IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class Row:
    """One leaf module of the network, with its inputs and its output."""

    # Unique name by position, e.g. "block2_layer3_conv1".
    name: str
    op: Op
    # Rows whose outputs it reads, concatenated in this order; IMAGE (-1) is the input.
    sources: tuple[int, ...]
    channels_in: int
    channels_out: int
    # Height and width of its input and of its output, in pixels; images are square.
    size_in: int
    size_out: int
    # Edge of the kernel of a convolution or pool, in pixels; 1 elsewhere.
    kernel: int = 1
    stride: int = 1
    # Dropout probability; 0 elsewhere.
    probability: float = 0.0
    # Block (from 1; 0 = stem or head) and layer in it (from 1; 0 = transition, pool).
    block: int = 0
    layer: int = 0


def walk(spec: NetworkSpec, input_size: int) -> tuple[Row, ...]:
    """Rows of the network on a (3, input_size, input_size) image; raises InputError if pooling leaves no pixels."""
    if type(input_size) is not int or input_size < 1:
        raise InputError(f"input size = {input_size!r}: must be a whole number of pixels, at least 1")
    walker = _Walker(spec, input_size)
    stem = spec.stem
    node = walker.add("stem_conv1", "conv", (IMAGE,), stem.widths[0], kernel=3, stride=stem.stride)
    node = walker.norm_act("stem", 1, node)
    node = walker.add("stem_conv2", "conv", (node,), stem.widths[1], kernel=3)
    node = walker.norm_act("stem", 2, node)
    if stem.pool:
        node = walker.add("stem_pool", "max_pool", (node,), kernel=3, stride=2)
    for number, block in enumerate(spec.blocks, start=1):
        last = number == len(spec.blocks)
        node = walker.block(number, block, node, spec.block_dropout if last else 0.0)
    node = walker.add("head_pool", "avg_pool", (node,))
    node = walker.add("head_flatten", "flatten", (node,))
    if spec.head_dropout:
        node = walker.add("head_dropout", "dropout", (node,), probability=spec.head_dropout)
    walker.add("head_linear", "linear", (node,), spec.classes)
    return tuple(walker.rows)


def smallest_input(spec: NetworkSpec) -> int:
    """The smallest valid size of a square input, pixels."""
    size = 1
    for block in reversed(spec.blocks):
        size *= 2 if block.pool else 1
    for downsamples in (spec.stem.pool, spec.stem.stride == 2):
        size = 2 * size - 1 if downsamples else size
    return size


class _Walker:
    """The rows so far; `add` appends one and returns its index."""

    def __init__(self, spec: NetworkSpec, input_size: int) -> None:
        self.spec = spec
        self.input_size = input_size
        self.rows: list[Row] = []

    def add(
        self,
        name: str,
        op: Op,
        sources: tuple[int, ...],
        channels_out: int | None = None,
        *,
        kernel: int = 1,
        stride: int = 1,
        probability: float = 0.0,
        block: int = 0,
        layer: int = 0,
    ) -> int:
        image = sources == (IMAGE,)
        channels_in = IMAGE_CHANNELS if image else sum(self.rows[source].channels_out for source in sources)
        size_in = self.input_size if image else self.rows[sources[0]].size_out
        size_out = 1 if op == "avg_pool" else _size_out(size_in, kernel, stride)
        if size_out < 1:
            raise InputError(
                f"input size {self.input_size} is too small: {name} leaves no pixels of a {size_in}x{size_in} map; "
                f"use a larger input or fewer pools"
            )
        channels = channels_in if channels_out is None else channels_out
        self.rows.append(
            Row(name, op, sources, channels_in, channels, size_in, size_out, kernel, stride, probability, block, layer)
        )
        return len(self.rows) - 1

    def norm_act(self, prefix: str, number: int, *sources: int, block: int = 0, layer: int = 0) -> int:
        node = self.add(f"{prefix}_norm{number}", "norm", sources, block=block, layer=layer)
        return self.add(f"{prefix}_act{number}", self.spec.activation, (node,), block=block, layer=layer)

    def layer(self, number: int, layer: int, block: BlockSpec, width: int, oldest_first: Sequence[int]) -> int:
        """Add the rows of one layer; returns the index of its last row."""
        unit, prefix = unit_named(block.unit), f"block{number}_layer{layer}"
        sources = tuple(oldest_first if unit.sources == "oldest first" else reversed(oldest_first))
        convs = norms = 0
        for part in unit.parts:
            if isinstance(part, Conv):
                convs += 1
                name, channels = f"{prefix}_conv{convs}", width if part.channels == "width" else block.bottleneck_width
                node = self.add(name, "conv", sources, channels, kernel=part.kernel, block=number, layer=layer)
            else:
                norms += 1
                node = self.norm_act(prefix, norms, *sources, block=number, layer=layer)
            sources = (node,)
        return node

    def block(self, number: int, block: BlockSpec, entry: int, dropout: float) -> int:
        """Add the rows of a block's layers, transition and pool; returns the index of the last row."""
        nodes = [entry]
        for layer, (links, width) in enumerate(zip(block.links, block.widths, strict=True), start=1):
            nodes.append(self.layer(number, layer, block, width, [nodes[n] for n in links]))
        outputs = tuple(nodes[n] for n in block.outputs)
        if dropout:
            outputs = (self.add(f"block{number}_dropout", "dropout", outputs, probability=dropout, block=number),)
        node = self.add(f"block{number}_transition_conv1", "conv", outputs, block.transition, block=number)
        node = self.norm_act(f"block{number}_transition", 1, node, block=number)
        if block.pool:
            node = self.add(f"block{number}_pool", "max_pool", (node,), kernel=2, stride=2, block=number)
        return node


def _size_out(size: int, kernel: int, stride: int) -> int:
    """Output size of a convolution or pool; 3x3 kernels are padded by 1, others are not padded."""
    padding = 1 if kernel == 3 else 0
    return (size + 2 * padding - kernel) // stride + 1
