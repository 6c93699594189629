"""The costs of a network, counted from the rows of the walk.

They follow two conventions: params and MACs as commonly reported, and the four columns of torchstat, which the
published tables use (Swall0w/torchstat: compute_flops.py, compute_madd.py, compute_memory.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from threshnet.shapes import Row, walk
from threshnet.spec import NetworkSpec

BYTES_PER_ELEMENT = 4  # fp32


@dataclass(frozen=True)
class Costs:
    """Costs of one network on one image of (3, input_size, input_size)."""

    input_size: int
    # Trainable parameters.
    params: int
    # Multiply-accumulates of the convolutions and the linear layer.
    macs: int
    # torchstat "Flops": macs plus norms, activations and pools.
    flops: int
    # torchstat "MAdd": additions and multiplications counted separately.
    madd: int
    # torchstat "memory": outputs of all leaf modules in fp32, bytes; concatenations are not modules.
    memory_bytes: int

    @property
    def memory_mib(self) -> float:
        """Memory in MiB (2^20 bytes), the unit that the published tables call MB."""
        return self.memory_bytes / 2**20


def count(spec: NetworkSpec, input_size: int) -> Costs:
    """Costs of the network at `input_size` pixels; raises InputError if the input is too small for its pools."""
    return total(walk(spec, input_size), input_size)


def total(rows: Sequence[Row], input_size: int) -> Costs:
    """Total costs of some rows of a walk at `input_size` pixels."""
    return Costs(
        input_size=input_size,
        params=sum(params(row) for row in rows),
        macs=sum(macs(row) for row in rows),
        flops=sum(_flops(row) for row in rows),
        madd=sum(_madd(row) for row in rows),
        memory_bytes=sum(_elements_out(row) for row in rows) * BYTES_PER_ELEMENT,
    )


def params(row: Row) -> int:
    """Trainable parameters of one row: only the linear layer has a bias; a batch norm has a scale and a shift."""
    match row.op:
        case "conv":
            return row.kernel**2 * row.channels_in * row.channels_out
        case "norm":
            return 2 * row.channels_out
        case "linear":
            return (row.channels_in + 1) * row.channels_out
        case _:
            return 0


def macs(row: Row) -> int:
    """Multiply-accumulates of one row; norms, activations and pools have none."""
    if row.op in ("conv", "linear"):
        return row.kernel**2 * row.channels_in * _elements_out(row)
    return 0


def _elements_out(row: Row) -> int:
    return row.channels_out * row.size_out**2


def _flops(row: Row) -> int:
    match row.op:
        case "norm":
            return 2 * _elements_out(row)
        case "relu" | "relu6":
            return _elements_out(row)
        case "max_pool":
            return row.channels_in * row.size_in**2
        case _:
            return macs(row)


def _madd(row: Row) -> int:
    match row.op:
        case "conv" | "linear":
            return (2 * row.kernel**2 * row.channels_in - 1) * _elements_out(row)
        case "norm":
            return 4 * _elements_out(row)
        case "relu" | "relu6":
            return _elements_out(row)
        case "max_pool":
            return (row.kernel**2 - 1) * _elements_out(row)
        case _:
            return 0
