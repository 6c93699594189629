"""Hypothesis strategies for networks; other suites import them as threshnet_tests.strategies."""

from typing import Any, get_args

from hypothesis import strategies as st

from threshnet.schedules import schedule
from threshnet.spec import Activation, BlockSpec, NetworkSpec, Output, StemSpec
from threshnet.units import UNITS

Links = tuple[tuple[int, ...], ...]


def thresholds(max_depth: int = 16) -> st.SearchStrategy[tuple[int, ...]]:
    """Lists of thresholds, one per layer, chosen independently."""
    return st.lists(st.integers(0, 3), min_size=1, max_size=max_depth).map(tuple)


@st.composite
def links(draw: st.DrawFn, max_depth: int = 16) -> Links:
    """Links of a block: half from per-layer thresholds, half arbitrary sets that include the predecessor."""
    if draw(st.booleans()):
        return schedule(draw(thresholds(max_depth)))
    depth = draw(st.integers(1, max_depth))
    return tuple(tuple(sorted(draw(st.sets(st.integers(0, layer - 1))) | {layer - 1})) for layer in range(1, depth + 1))


@st.composite
def blocks(draw: st.DrawFn, max_depth: int = 16, max_width: int = 64) -> BlockSpec:
    """Any valid block whose growth, transition and bottleneck are at most `max_width` channels."""
    unit = draw(st.sampled_from(sorted(UNITS)))
    return BlockSpec(
        links=draw(links(max_depth)),
        growth=draw(st.integers(1, max_width)),
        transition=draw(st.integers(1, max_width)),
        unit=unit,
        bottleneck_width=draw(st.integers(1, max_width)) if UNITS[unit].has_bottleneck else 0,
        multiplier=draw(st.sampled_from((1.0, 1.3, 1.7, 2.0))),
        output=draw(st.sampled_from(get_args(Output))),
        pool=draw(st.booleans()),
    )


@st.composite
def stems(draw: st.DrawFn, max_width: int = 64) -> StemSpec:
    """Any valid stem of at most `max_width` channels."""
    widths = draw(st.tuples(st.integers(1, max_width), st.integers(1, max_width)))
    return StemSpec(widths, stride=draw(st.sampled_from((1, 2))), pool=draw(st.booleans()))


@st.composite
def networks(draw: st.DrawFn, max_blocks: int = 4, max_depth: int = 16, max_width: int = 64) -> NetworkSpec:
    """Any valid network within these sizes."""
    return NetworkSpec(
        blocks=tuple(draw(st.lists(blocks(max_depth, max_width), min_size=1, max_size=max_blocks))),
        stem=draw(stems(max_width)),
        activation=draw(st.sampled_from(get_args(Activation))),
        block_dropout=draw(st.sampled_from((0.0, 0.1, 0.5))),
        head_dropout=draw(st.sampled_from((0.0, 0.2))),
        classes=draw(st.integers(2, 20)),
    )


def small_networks() -> st.SearchStrategy[NetworkSpec]:
    """Networks small enough to build and run in milliseconds."""
    return networks(max_blocks=3, max_depth=6, max_width=12)


def any_json() -> st.SearchStrategy[Any]:
    """Any value that a JSON file can hold."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    )
