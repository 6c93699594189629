"""How large a network may be: bounds that a file of unknown origin cannot get around, counted before anything is made.

The largest of the published networks, HarDNet85, has 37 M parameters and takes 0.2 T MACs at 1024x1024 pixels.
"""

from threshnet.costs import Costs, count
from threshnet.errors import InputError
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec

MAX_PARAMS = 250_000_000  # 1 GB in fp32; an ONNX file that is one piece holds 2 GB
MAX_MACS = 10**12  # for one image
MAX_MEMORY_BYTES = 2**32  # outputs of all layers for one image; at worst nearly all of it lives at once


def check_params(spec: NetworkSpec) -> None:
    """InputError for a network with more parameters than are ever built."""
    _check(count(spec, smallest_input(spec)).params, "parameters", MAX_PARAMS)


def check_size(spec: NetworkSpec, input_size: int) -> Costs:
    """The costs of a network on an image of `input_size` pixels; InputError where they are out of bounds."""
    costs = count(spec, input_size)
    _check(costs.params, "parameters", MAX_PARAMS)
    _check(costs.macs, f"MACs at {input_size}x{input_size} pixels", MAX_MACS)
    _check(costs.memory_bytes, f"bytes of layer outputs at {input_size}x{input_size} pixels", MAX_MEMORY_BYTES)
    return costs


def _check(value: int, what: str, limit: int) -> None:
    if value > limit:
        raise InputError(f"a network of {value:.3g} {what}: at most {limit:.3g} are allowed")


MAX_INPUT = 1024  # pixels
