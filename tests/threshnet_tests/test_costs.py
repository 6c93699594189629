"""Costs and sizes that the rows tell, against what hooks count on the network that was built."""

from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threshnet_tests.strategies import networks, small_networks
from torch import Tensor, nn

from threshnet import NAMED, InputError, NetworkSpec
from threshnet.costs import Costs, count, macs, params
from threshnet.network import ThreshNet, build
from threshnet.shapes import IMAGE, Row, smallest_input, walk


def counted_by_hooks(model: ThreshNet, input_size: int) -> tuple[Costs, list[tuple[str, torch.Size, torch.Size]]]:
    """The columns of torchstat, by its definitions, and name, input and output shape of each leaf as it is called."""
    totals: Counter[str] = Counter()
    calls: list[tuple[str, torch.Size, torch.Size]] = []
    names = {module: name for name, module in model.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        source, n = inputs[0], output.numel()
        calls.append((names[module], source.shape, output.shape))
        totals["memory_bytes"] += 4 * n
        match module:
            case nn.Conv2d():
                reads = module.weight[0].numel()
                totals.update(macs=reads * n, flops=reads * n, madd=(2 * reads - 1) * n)
            case nn.Linear():
                reads = module.in_features
                totals.update(macs=reads * n, flops=reads * n, madd=n * (2 * reads - 1))
            case nn.BatchNorm2d():
                totals.update(flops=2 * n, madd=4 * n)
            case nn.ReLU() | nn.ReLU6():
                totals.update(flops=n, madd=n)
            case nn.MaxPool2d():
                totals.update(flops=source.numel(), madd=(int(module.kernel_size) ** 2 - 1) * n)
            case nn.AdaptiveAvgPool2d() | nn.Flatten() | nn.Dropout():
                pass
            case _:
                pytest.fail(f"a leaf module that torchstat has no rule for: {module}")

    handles = [m.register_forward_hook(hook) for m in model.modules() if not list(m.children())]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, input_size, input_size))
    for handle in handles:
        handle.remove()
    totals["params"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    columns = ("params", "macs", "flops", "madd", "memory_bytes")
    return Costs(input_size, **{column: totals[column] for column in columns}), calls


@settings(max_examples=40, deadline=None)
@given(small_networks(), st.integers(0, 20))
def test_rows_tell_what_hooks_count(spec: NetworkSpec, extra: int) -> None:
    size = smallest_input(spec) + extra
    costs, calls = counted_by_hooks(build(spec), size)
    assert count(spec, size) == costs
    rows = walk(spec, size)
    assert [row.name for row in rows] == [name for name, _, _ in calls]
    flat = False
    for row, (_, source, output) in zip(rows, calls, strict=True):
        assert source == (1, row.channels_in, *(() if flat else (row.size_in, row.size_in)))
        flat = flat or row.op == "flatten"
        assert output == (1, row.channels_out, *(() if flat else (row.size_out, row.size_out)))


@pytest.mark.parametrize("name", ["threshnet28", "threshnet79"])
def test_named_networks_cost_what_hooks_count(name: str) -> None:
    assert count(NAMED[name], 32) == counted_by_hooks(build(NAMED[name]), 32)[0]


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
    """Rows that no later row reads: the logits, and what a block's output and links leave out."""
    names = {row.name: index for index, row in enumerate(rows)}
    found = {len(rows) - 1}
    for number, block in enumerate(spec.blocks, start=1):
        read = {node for nodes in block.links for node in nodes} | set(block.outputs)
        last = "conv2" if block.unit == "bottleneck" else "act1"
        found |= {names[f"block{number}_layer{n}_{last}"] for n in range(1, block.depth + 1) if n not in read}
    return found


@settings(max_examples=60, deadline=None)
@given(networks(max_blocks=6, max_depth=2))
@example(NAMED["threshnet79"])
def test_the_smallest_input_works_and_a_pixel_less_fails(spec: NetworkSpec) -> None:
    size = smallest_input(spec)
    assert all(row.size_out >= 1 for row in walk(spec, size))
    if size > 1:
        with pytest.raises(InputError, match=f"input size {size - 1} is too small: .* pool 1x1 pixels away"):
            walk(spec, size - 1)


@settings(max_examples=10, deadline=None)
@given(small_networks())
def test_the_smallest_input_runs(spec: NetworkSpec) -> None:
    size = smallest_input(spec)
    with torch.inference_mode():
        logits = build(spec).eval()(torch.rand(2, 3, size, size))
    assert logits.shape == (2, spec.classes)


@pytest.mark.parametrize("size", [0, -32, 32.0, True, "32"])
def test_an_input_size_that_is_none_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=r"input size = .*: must be a whole number of pixels, at least 1"):
        count(NAMED["threshnet79"], size)


def test_memory_is_told_in_mib() -> None:
    costs = count(NAMED["threshnet79"], 224)
    assert costs.memory_mib == costs.memory_bytes / 1024 / 1024


@settings(max_examples=15, deadline=None)
@given(small_networks())
def test_every_parameter_learns_and_nothing_is_kept_too_short(spec: NetworkSpec) -> None:
    """Letting results go early must not change what is computed: one step of training reaches all that is read."""
    torch.manual_seed(0)
    model = build(spec).train()
    size = smallest_input(spec) * 2
    model(torch.rand(3, 3, size, size)).sum().backward()
    unused = {row.name for row in model.rows} - reached(model)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name.split(".")[0] in unused), name


def reached(model: ThreshNet) -> set[str]:
    """Names of the rows from which a path leads to the logits."""
    wanted, names = {len(model.rows) - 1}, set()
    for index in reversed(range(len(model.rows))):
        if index in wanted:
            names.add(model.rows[index].name)
            wanted |= set(model.rows[index].sources)
    return names
