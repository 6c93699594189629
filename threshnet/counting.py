"""The costs of any torch module, counted call by call, in the columns of `threshnet.costs`.

`costs.count` reads the rows of a ThreshNet. This module hooks the leaf modules of any network, so that the baselines
are reported in the same columns. Tests check that the two agree on ThreshNets.

Modules are counted by torchstat's rules (Swall0w/torchstat: compute_flops.py, compute_madd.py). As in torchstat, those
without a rule (SiLU, GELU, tanh, sigmoid, hard swish, hard sigmoid, softmax, adaptive pools, flatten, permute, dropout)
add their output to memory, but no FLOPs and no MAdd, and most functional operations (concatenation, addition, channel
shuffle, pools and activations called as functions) are not counted. Differences from torchstat:

- A module that is called several times is counted each time; torchstat keeps only the last call.
- A module with both parameters of its own and children is counted in addition to its children. timm's norm layers have
  their activation as a child; torchstat, which counts leaf modules only, would miss those norms.
- The products of attention and other convolutions and matrix products outside of these modules are counted, by torch's
  FlopCounterMode: each multiply-accumulate as one FLOP and two MAdd.
- Layer norms and group norms are counted like batch norms, which torchstat's rules cover.
- A placeholder (nn.Identity, an empty nn.Sequential) is free; torchstat adds its output to memory. The costs of a
  network should not depend on how its library represents a disabled option.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import Permute, StochasticDepth

from threshnet.baselines import Baseline, LibraryModel, build_baseline, build_library_model
from threshnet.costs import BYTES_PER_ELEMENT, Costs
from threshnet.errors import InputError


@dataclass(frozen=True)
class Call:
    """One call of a leaf module in the forward pass of one image."""

    # The module's name in the network.
    name: str
    module: nn.Module
    # Shapes of its input and output, batch dimension (1) included.
    source: torch.Size
    output: torch.Size


@dataclass(frozen=True)
class Arithmetic:
    """Operations of one call, in the columns of `threshnet.costs.Costs`."""

    macs: int = 0
    flops: int = 0
    madd: int = 0


def count_modules(model: nn.Module, input_size: int) -> Costs:
    """Costs of the network on one image of (3, input_size, input_size) in eval mode; the model is not modified.

    Raises TypeError for a leaf module that has no rule here.
    """
    with FlopCounterMode(display=False) as products:
        calls = leaf_calls(model, input_size)
    counted = [_arithmetic(call) for call in calls]
    macs = products.get_total_flops() // 2
    functional = macs - sum(one.macs for one in counted)
    return Costs(
        input_size=input_size,
        params=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        macs=macs,
        flops=sum(one.flops for one in counted) + functional,
        madd=sum(one.madd for one in counted) + 2 * functional,
        memory_bytes=BYTES_PER_ELEMENT * sum(call.output.numel() for call in calls),
    )


def count_baseline(baseline: Baseline, input_size: int, classes: int) -> Costs:
    """Costs of a baseline with a head of `classes`; raises InputError if its library is not installed."""
    with torch.device("meta"):  # allocates no weights
        model = build_baseline(baseline, classes)
    return count_modules(model, input_size)


def count_library_model(model: LibraryModel, input_size: int) -> Costs:
    """Costs of a library model.

    Raises InputError if it cannot be built for this input size, if a module has no rule here, or if its forward pass
    needs more than shapes.
    """
    try:
        with torch.device("meta"):  # allocates no weights
            built = build_library_model(model, input_size)
    except InputError as error:
        if not isinstance(error.__context__, NotImplementedError):
            raise
        with torch.random.fork_rng(devices=()):  # the constructor reads values of tensors, e.g. that of RegNet
            built = build_library_model(model, input_size)
    try:
        return count_modules(built, input_size)
    except (TypeError, RuntimeError) as error:  # no rule, or a forward pass that reads values of tensors
        raise InputError(f"network {model.name!r}: {str(error).splitlines()[0]}") from None


def leaf_calls(model: nn.Module, input_size: int) -> tuple[Call, ...]:
    """All calls of counted modules for one image of (3, input_size, input_size), in execution order.

    Runs a copy on torch's meta device, which computes shapes only. Raises TypeError if the input or the output of a
    counted module is not a tensor. Of several outputs, e.g. of attention with its weights, the first one counts.
    """
    shell = deepcopy(model).to("meta").eval()
    calls: list[Call] = []
    names = {module: name for name, module in shell.named_modules()}

    def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if not (inputs and isinstance(inputs[0], Tensor) and isinstance(first, Tensor)):
            raise _no_rule(names[module], module)
        calls.append(Call(names[module], module, inputs[0].shape, first.shape))

    for module in shell.modules():
        if _is_counted(module):
            module.register_forward_hook(hook)
    with torch.inference_mode():
        shell(torch.zeros(1, 3, input_size, input_size, device="meta"))
    return tuple(calls)


def _is_counted(module: nn.Module) -> bool:
    """True for a leaf module or one with parameters of its own, unless it is a placeholder."""
    placeholder = isinstance(module, nn.Identity | nn.Sequential)
    leaf = next(module.children(), None) is None
    return not placeholder and (leaf or next(module.parameters(recurse=False), None) is not None)


def _arithmetic(call: Call) -> Arithmetic:
    """Operations of one call; as in torchstat, a bias adds one operation per output in convolutions only."""
    inputs, outputs = call.source.numel(), call.output.numel()
    match call.module:
        case nn.Conv2d() as conv:
            taps = conv.weight[0].numel()  # weights per output element, within one group
            bias = 0 if conv.bias is None else outputs
            return Arithmetic(taps * outputs, taps * outputs + bias, (2 * taps - 1) * outputs + bias)
        case nn.Linear() as linear:
            return Arithmetic(
                linear.in_features * outputs, linear.in_features * outputs, (2 * linear.in_features - 1) * outputs
            )
        case nn.BatchNorm2d() | nn.LayerNorm() | nn.GroupNorm():
            return Arithmetic(flops=2 * outputs, madd=4 * outputs)
        case nn.ReLU() | nn.ReLU6():
            return Arithmetic(flops=outputs, madd=outputs)
        case nn.MaxPool2d(kernel_size=kernel):
            return Arithmetic(flops=inputs, madd=(_area(kernel) - 1) * outputs)
        case nn.AvgPool2d(kernel_size=kernel):
            return Arithmetic(flops=inputs, madd=_area(kernel) * outputs)
        case nn.SiLU() | nn.GELU() | nn.Tanh() | nn.Sigmoid() | nn.Hardswish() | nn.Hardsigmoid() | nn.Softmax():
            return Arithmetic()
        case nn.AdaptiveAvgPool2d() | nn.AdaptiveMaxPool2d() | nn.Flatten() | Permute():
            return Arithmetic()
        case nn.Dropout() | StochasticDepth():
            return Arithmetic()
        case composite if next(composite.children(), None) is not None:  # uses its own parameters in functions
            return Arithmetic()
        case unknown:
            raise _no_rule(call.name, unknown)


def _no_rule(name: str, module: nn.Module) -> TypeError:
    return TypeError(f"module {name!r}: no rule to count the costs of {type(module).__name__}")


def _area(kernel: int | tuple[int, int]) -> int:
    """Number of elements in a pooling window."""
    return kernel * kernel if isinstance(kernel, int) else kernel[0] * kernel[1]
