"""What any module costs, counted call by call, in the columns of `threshnet.costs`.

`costs.count` reads a ThreshNet's rows; this counts the leaf modules that a network calls, so that the comparison
networks are told in the same columns. On a ThreshNet the two agree, which the tests hold.

What torchstat has a rule for is counted by it (Swall0w/torchstat: compute_flops.py, compute_madd.py); what it has none
for, it counts as zero FLOPs and zero MAdd, with the output in memory, and so does this: SiLU, sigmoid, hard sigmoid,
adaptive pools, flattening, dropouts. What is no module (concatenations, sums, shuffled channels, pools and activations
called as functions) is seen by neither. Where this differs from torchstat:

- A module that is called several times costs several times; torchstat keeps the last call.
- A module with weights of its own and children is counted as well as they are: timm's norms hold their activation as a
  child, and torchstat, which knows leaves alone, would not see those norms.
- A placeholder (nn.Identity, an empty nn.Sequential) costs nothing; torchstat adds its output to memory. A network does
  not cost more for how its library writes an option that is switched off.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from threshnet.baselines import Baseline, build_baseline
from threshnet.costs import BYTES_PER_ELEMENT, Costs


@dataclass(frozen=True)
class Call:
    """One call of a leaf module while the network looks at one image."""

    # The module's name in the network.
    name: str
    module: nn.Module
    # Shapes of what it read and what it gave, the number of images (1) first.
    source: torch.Size
    output: torch.Size


@dataclass(frozen=True)
class Arithmetic:
    """What one call computes, in the columns of `threshnet.costs.Costs`."""

    macs: int = 0
    flops: int = 0
    madd: int = 0


def count_modules(model: nn.Module, input_size: int) -> Costs:
    """Costs of the network on one image of (3, input_size, input_size) in evaluation mode; the model stays as it is.

    TypeError names a leaf module that there is no rule for.
    """
    calls = leaf_calls(model, input_size)
    counted = [_arithmetic(call) for call in calls]
    return Costs(
        input_size=input_size,
        params=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        macs=sum(one.macs for one in counted),
        flops=sum(one.flops for one in counted),
        madd=sum(one.madd for one in counted),
        memory_bytes=BYTES_PER_ELEMENT * sum(call.output.numel() for call in calls),
    )


def count_baseline(baseline: Baseline, input_size: int, classes: int) -> Costs:
    """Costs of a comparison network with a head of `classes`; InputError where its library is not installed."""
    with torch.device("meta"):  # no weights are drawn
        model = build_baseline(baseline, classes)
    return count_modules(model, input_size)


def leaf_calls(model: nn.Module, input_size: int) -> tuple[Call, ...]:
    """The calls of all modules that compute, in their order, for one image of (3, input_size, input_size).

    A copy without data is run (torch's meta device), so that only shapes are worked out.
    """
    shell = deepcopy(model).to("meta").eval()
    calls: list[Call] = []
    names = {module: name for name, module in shell.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(Call(names[module], module, inputs[0].shape, output.shape))

    for module in shell.modules():
        if _computes(module):
            module.register_forward_hook(hook)
    with torch.inference_mode():
        shell(torch.zeros(1, 3, input_size, input_size, device="meta"))
    return tuple(calls)


def _computes(module: nn.Module) -> bool:
    """Whether it is a leaf, or has weights beside its children, and is no placeholder."""
    placeholder = isinstance(module, nn.Identity | nn.Sequential)
    leaf = next(module.children(), None) is None
    return not placeholder and (leaf or next(module.parameters(recurse=False), None) is not None)


def _arithmetic(call: Call) -> Arithmetic:
    """What one call computes; a bias is an addition per output of a convolution, and none of a linear layer."""
    read, given = call.source.numel(), call.output.numel()
    match call.module:
        case nn.Conv2d() as conv:
            taps = conv.weight[0].numel()  # those of one group
            bias = 0 if conv.bias is None else given
            return Arithmetic(taps * given, taps * given + bias, (2 * taps - 1) * given + bias)
        case nn.Linear() as linear:
            return Arithmetic(
                linear.in_features * given, linear.in_features * given, (2 * linear.in_features - 1) * given
            )
        case nn.BatchNorm2d():
            return Arithmetic(flops=2 * given, madd=4 * given)
        case nn.ReLU() | nn.ReLU6():
            return Arithmetic(flops=given, madd=given)
        case nn.MaxPool2d(kernel_size=kernel):
            return Arithmetic(flops=read, madd=(_area(kernel) - 1) * given)
        case nn.AvgPool2d(kernel_size=kernel):
            return Arithmetic(flops=read, madd=_area(kernel) * given)
        case nn.SiLU() | nn.Sigmoid() | nn.Hardsigmoid():
            return Arithmetic()
        case nn.AdaptiveAvgPool2d() | nn.Flatten() | nn.Dropout() | StochasticDepth():
            return Arithmetic()
        case unknown:
            raise TypeError(f"module {call.name!r}: no rule says what a {type(unknown).__name__} costs")


def _area(kernel: int | tuple[int, int]) -> int:
    """Elements that a pool looks at."""
    return kernel * kernel if isinstance(kernel, int) else kernel[0] * kernel[1]
