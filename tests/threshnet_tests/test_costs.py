"""Costs and shapes of the rows, compared with hooks on the built network."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threshnet_tests.strategies import networks, small_networks

from threshnet import NAMED, InputError, NetworkSpec
from threshnet.costs import count, macs, params
from threshnet.counting import count_modules, leaf_calls
from threshnet.network import ThreshNet, build
from threshnet.shapes import IMAGE, Row, smallest_input, walk


@settings(max_examples=40, deadline=None)
@given(small_networks(), st.integers(0, 20))
def test_rows_agree_with_hooks(spec: NetworkSpec, extra: int) -> None:
    size = smallest_input(spec) + extra
    model = build(spec)
    assert count(spec, size) == count_modules(model, size)
    rows, calls = walk(spec, size), leaf_calls(model, size)
    assert [row.name for row in rows] == [call.name for call in calls]
    flat = False
    for row, call in zip(rows, calls, strict=True):
        assert call.source == (1, row.channels_in, *(() if flat else (row.size_in, row.size_in)))
        flat = flat or row.op == "flatten"
        assert call.output == (1, row.channels_out, *(() if flat else (row.size_out, row.size_out)))


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("size", [32, 224])
def test_costs_of_named_networks_agree_with_hooks(name: str, size: int) -> None:
    assert count(NAMED[name], size) == count_modules(build(NAMED[name]), size)


@settings(max_examples=40, deadline=None)
@given(networks())
@example(NAMED["hardnet85"])
def test_rows_are_a_straight_line(spec: NetworkSpec) -> None:
    rows = walk(spec, smallest_input(spec) + 3)
    assert len({row.name for row in rows}) == len(rows)
    for index, row in enumerate(rows):
        assert all(IMAGE <= source < index for source in row.sources)
        read = 3 if row.sources == (IMAGE,) else sum(rows[source].channels_out for source in row.sources)
        assert row.channels_in == read
        assert {rows[s].size_out for s in row.sources if s != IMAGE} <= {row.size_in}
        assert params(row) >= 0
        assert (macs(row) > 0) == (row.op in ("conv", "linear"))
    assert set(range(len(rows))) - {source for row in rows for source in row.sources} == unread(spec, rows)


def unread(spec: NetworkSpec, rows: tuple[Row, ...]) -> set[int]:
    """Rows that no later row reads: the logits, and layers that neither a link nor the block's output uses."""
    ends = {(row.block, row.layer): index for index, row in enumerate(rows)}  # the last row of each layer
    indices = {len(rows) - 1}
    for number, block in enumerate(spec.blocks, start=1):
        read = {node for nodes in block.links for node in nodes} | set(block.outputs)
        indices |= {ends[number, layer] for layer in range(1, block.depth + 1) if layer not in read}
    return indices


@settings(max_examples=60, deadline=None)
@given(networks(max_blocks=6, max_depth=2))
@example(NAMED["threshnet79"])
def test_the_smallest_input_works_and_one_pixel_less_fails(spec: NetworkSpec) -> None:
    size = smallest_input(spec)
    assert all(row.size_out >= 1 for row in walk(spec, size))
    if size > 1:
        with pytest.raises(InputError, match=f"input size {size - 1} is too small: .* leaves no pixels of a 1x1 map"):
            walk(spec, size - 1)


@settings(max_examples=10, deadline=None)
@given(small_networks())
def test_the_smallest_input_runs(spec: NetworkSpec) -> None:
    size = smallest_input(spec)
    with torch.inference_mode():
        logits = build(spec).eval()(torch.rand(2, 3, size, size))
    assert logits.shape == (2, spec.classes)


@pytest.mark.parametrize("size", [0, -32, 32.0, True, "32"])
def test_an_invalid_input_size_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=r"input size = .*: must be a whole number of pixels, at least 1"):
        count(NAMED["threshnet79"], size)


def test_memory_is_reported_in_mib() -> None:
    costs = count(NAMED["threshnet79"], 224)
    assert costs.memory_mib == costs.memory_bytes / 1024 / 1024


@settings(max_examples=15, deadline=None)
@given(small_networks())
def test_every_used_parameter_gets_a_gradient(spec: NetworkSpec) -> None:
    """Freeing intermediate results early must not break the backward pass."""
    torch.manual_seed(0)
    model = build(spec).train()
    size = smallest_input(spec) * 2
    model(torch.rand(3, 3, size, size)).sum().backward()
    unused = {row.name for row in model.rows} - reached(model)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name.split(".")[0] in unused), name


def reached(model: ThreshNet) -> set[str]:
    """Names of the rows that the logits depend on."""
    wanted, names = {len(model.rows) - 1}, set()
    for index in reversed(range(len(model.rows))):
        if index in wanted:
            names.add(model.rows[index].name)
            wanted |= set(model.rows[index].sources)
    return names
