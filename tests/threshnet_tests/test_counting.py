"""The module counter: torchstat's rules in closed form, layer by layer, and on whole networks."""

from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.ops import Permute, StochasticDepth

from threshnet.baselines import BASELINES, LibraryModel, build_baseline, build_library_model
from threshnet.counting import count_library_model, count_modules, leaf_calls
from threshnet.errors import InputError

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


def counted(module: nn.Module, size: int) -> tuple[int, int, int, int, int]:
    """Params, MACs, FLOPs, MAdd, and elements in memory."""
    costs = count_modules(module, size)
    return costs.params, costs.macs, costs.flops, costs.madd, costs.memory_bytes // 4


@settings(max_examples=30, deadline=None)
@given(
    groups=st.sampled_from((1, 3)),
    filters=st.integers(1, 4),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    bias=st.booleans(),
    size=st.integers(5, 20),
)
def test_convolutions_with_groups_and_biases(
    groups: int, filters: int, kernel: int, stride: int, bias: bool, size: int
) -> None:
    out = 3 * filters
    outputs = out * ((size - kernel) // stride + 1) ** 2
    taps = kernel**2 * 3 // groups
    assert counted(nn.Conv2d(3, out, kernel, stride, groups=groups, bias=bias), size) == (
        taps * out + bias * out,
        taps * outputs,
        (taps + bias) * outputs,
        (taps + taps - 1 + bias) * outputs,
        outputs,
    )


@settings(max_examples=20, deadline=None)
@given(kernel=st.integers(1, 4), size=st.integers(4, 12), square=st.booleans())
def test_pools(kernel: int, size: int, square: bool) -> None:
    outputs, inputs = 3 * (size // kernel) ** 2, 3 * size**2
    shape = kernel if square else (kernel, kernel)
    assert counted(nn.MaxPool2d(shape), size) == (0, 0, inputs, (kernel**2 - 1) * outputs, outputs)
    assert counted(nn.AvgPool2d(shape), size) == (0, 0, inputs, kernel**2 * outputs, outputs)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.BatchNorm2d(3), (6, 0, 2 * 75, 4 * 75, 75)),
        (nn.LayerNorm((3, 5, 5)), (150, 0, 2 * 75, 4 * 75, 75)),
        (nn.GroupNorm(3, 3), (6, 0, 2 * 75, 4 * 75, 75)),
        (nn.ReLU6(), (0, 0, 75, 75, 75)),
        (nn.SiLU(), (0, 0, 0, 0, 75)),
        (nn.GELU(), (0, 0, 0, 0, 75)),
        (nn.Tanh(), (0, 0, 0, 0, 75)),
        (nn.Sigmoid(), (0, 0, 0, 0, 75)),
        (nn.Hardswish(), (0, 0, 0, 0, 75)),
        (nn.Hardsigmoid(), (0, 0, 0, 0, 75)),
        (nn.Dropout(), (0, 0, 0, 0, 75)),
        (StochasticDepth(0.5, "row"), (0, 0, 0, 0, 75)),
        (nn.AdaptiveAvgPool2d(1), (0, 0, 0, 0, 3)),
        (nn.AdaptiveMaxPool2d(1), (0, 0, 0, 0, 3)),
        (nn.Softmax(dim=1), (0, 0, 0, 0, 75)),
        (Permute([0, 2, 3, 1]), (0, 0, 0, 0, 75)),
        (nn.Identity(), (0, 0, 0, 0, 0)),
        (nn.Sequential(), (0, 0, 0, 0, 0)),
        (nn.Sequential(nn.Flatten(), nn.Linear(75, 2)), (152, 150, 150, 2 * 149, 75 + 2)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_each_type_of_leaf_module(module: nn.Module, expected: tuple[int, ...]) -> None:
    assert counted(module, 5) == expected


class NormAndActivation(nn.BatchNorm2d):
    """A norm layer with its activation as a child, as in timm."""

    def __init__(self) -> None:
        super().__init__(3)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.act(self.drop(super().forward(x)))
        return normed


def test_a_norm_with_an_activation_as_child_costs_the_sum_of_both() -> None:
    assert counted(NormAndActivation(), 5) == counted(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), 5)


class SelfAttention(nn.Module):
    """Attention between the pixels of an image, (n, 3, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed: Tensor = self.attention(tokens, tokens, tokens)[0]
        return mixed


def test_attention_costs_its_projections_and_its_two_products() -> None:
    tokens, width = 25, 3
    projections = 4 * width * width  # of the queries, keys, values and outputs
    macs = tokens * projections + 2 * tokens * tokens * width
    assert counted(SelfAttention(), 5) == (projections + 4 * width, macs, macs, 2 * macs, tokens * width)


class Functional(nn.Conv2d):
    """A convolution that is called as a function, in addition to its module."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + nn.functional.conv2d(x, self.weight)


def test_convolutions_called_as_functions_are_counted() -> None:
    params, macs, flops, madd, memory = counted(nn.Conv2d(3, 4, 2, bias=False), 5)
    assert counted(Functional(3, 4, 2, bias=False), 5) == (params, 2 * macs, flops + macs, madd + 2 * macs, memory)


def test_a_module_is_counted_each_time_it_is_called() -> None:
    relu = nn.ReLU()
    assert counted(nn.Sequential(relu, relu), 5) == counted(nn.Sequential(nn.ReLU(), nn.ReLU()), 5)


def test_counting_does_not_modify_the_model() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_modules(model, 4)
    assert model.training
    assert not model[0]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_leaf_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="module '0': no rule to count the costs of Softmax2d"):
        count_modules(nn.Sequential(nn.Softmax2d()), 4)


# Params, FLOPs, MAdd and memory (MiB) by torchstat 0.0.7 at 224x224 with 1000 classes, torchvision 0.29.2.
BY_TORCHSTAT = {
    "squeezenet": (1_248_424, 829_877_392, 1_646_620_104, 35.602996826171875),
    "mobilenet_v2": (3_504_872, 320_236_288, 627_687_672, 74.25039672851562),
    "shufflenet_v2": (2_278_604, 150_597_480, 297_755_728, 20.846160888671875),
    "efficientnet_b0": (5_288_548, 399_299_484, 791_841_592, 75.814208984375),
    "densenet121": (7_978_856, 2_882_619_136, 5_742_018_328, 147.09951782226562),
}


@pytest.mark.parametrize("name", BY_TORCHSTAT)
def test_costs_equal_those_of_torchstat(name: str) -> None:
    costs = count_modules(build_baseline(BASELINES[name], 1000), 224)
    assert (costs.params, costs.flops, costs.madd, costs.memory_mib) == BY_TORCHSTAT[name]


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet_v2", pytest.param("mobilenet", marks=needs_timm)])
def test_stride_8_costs_more_with_the_same_parameters(name: str) -> None:
    own, at_8 = (count_modules(build_baseline(BASELINES[key], 10), 32) for key in (name, f"{name}_stride8"))
    assert own.params == at_8.params
    assert own.macs < at_8.macs
    assert own.memory_bytes < at_8.memory_bytes


@pytest.mark.parametrize("name", ["mobilenet", "ghostnet"])
@needs_timm
def test_every_parameter_of_the_timm_networks_belongs_to_a_counted_call(name: str) -> None:
    model = build_baseline(BASELINES[name], 10)
    owned = sum(sum(p.numel() for p in call.module.parameters(recurse=False)) for call in leaf_calls(model, 32))
    assert owned == count_modules(model, 32).params


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "regnet_y_400mf"])
def test_library_models_with_other_activations_or_constructors_that_read_tensors_are_counted(name: str) -> None:
    model, before = LibraryModel("torchvision", name), torch.random.get_rng_state()
    costs = count_library_model(model, 32)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert costs.params == sum(weights.numel() for weights in build_library_model(model, 32).parameters())


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_16", "swin_t"])
def test_models_with_layer_norms_and_attention_cost_what_torchvision_states(name: str) -> None:
    costs = count_library_model(LibraryModel("torchvision", name, 1000), 224)
    stated = get_model_weights(name)["IMAGENET1K_V1"].meta
    assert costs.params == stated["num_params"]
    assert costs.macs / 1e9 == pytest.approx(stated["_ops"], abs=1e-3)
    assert costs.macs < costs.flops < costs.madd < 2.01 * costs.macs


def test_a_library_model_with_a_module_without_a_rule_is_one_line() -> None:
    error = r"network 'torchvision/maxvit_t': module '.*': no rule to count the costs of WindowPartition$"
    with pytest.raises(InputError, match=error):
        count_library_model(LibraryModel("torchvision", "maxvit_t"), 224)
