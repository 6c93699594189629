"""Size limits for networks, checked before anything is built, so that an untrusted file cannot exhaust memory.

The largest published network, HarDNet85, has 37 M parameters and takes 0.2 T MACs at 1024x1024 pixels.
"""

from threshnet.costs import Costs, count
from threshnet.errors import InputError
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec

MAX_PARAMS = 250_000_000  # 1 GB in fp32; a self-contained ONNX file holds at most 2 GB
MAX_MACS = 10**12  # for one image
MAX_MEMORY_BYTES = 2**32  # outputs of all layers for one image; in the worst case nearly all are in memory at once
MAX_INPUT = 1024  # edge of the input image, pixels


def check_params(spec: NetworkSpec) -> None:
    """Raise InputError if the network has more than MAX_PARAMS parameters."""
    _check(count(spec, smallest_input(spec)).params, "parameters", MAX_PARAMS)


def check_size(spec: NetworkSpec, input_size: int) -> Costs:
    """Costs of a network on an image of `input_size` pixels; raises InputError if one exceeds its limit."""
    costs = count(spec, input_size)
    _check(costs.params, "parameters", MAX_PARAMS)
    _check(costs.macs, f"MACs at {input_size}x{input_size} pixels", MAX_MACS)
    _check(costs.memory_bytes, f"bytes of layer outputs at {input_size}x{input_size} pixels", MAX_MEMORY_BYTES)
    return costs


def _check(value: int, unit: str, limit: int) -> None:
    if value > limit:
        raise InputError(f"the network has {value:.3g} {unit}; at most {limit:.3g} are allowed")
