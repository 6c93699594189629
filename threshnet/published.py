"""The published results: the rows of the table, the claims of the abstract, and discrepancies from our counts.

Source of the rows: README.md of the ThreshNet repository (github.com/RuiyangJu/ThreshNet at 0e9a35b), which accompanies
Ju et al. 2022, "ThreshNet: An Efficient DenseNet Using Threshold Mechanism to Reduce Connections", IEEE Access 10,
82834-82843, arXiv:2201.03013. Its cost columns come from torchstat at 224x224, although the networks train at 32x32.
Source of the claims: the abstract of that paper.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from threshnet.costs import Costs

INPUT_SIZE = 224  # input size of the cost columns, pixels

Column = Literal["params", "FLOPs", "MAdd", "memory"]
UNITS: dict[Column, str] = {"params": "M", "FLOPs": "G", "MAdd": "G", "memory": "MB"}


@dataclass(frozen=True)
class PublishedRow:
    """A row of the published table, as printed."""

    # The network's name here, a key of NAMED or BASELINES.
    network: str
    # GPU time per image on an RTX 3050, milliseconds; test error on CIFAR-10, percent.
    gpu_ms: float
    error_percent: float
    # Cost columns: parameters in millions, FLOPs and MAdd in billions, memory in MiB.
    params_m: float
    flops_g: float
    madd_g: float
    memory_mb: float
    # Number of classes of the head in the cost columns.
    head_classes: int
    # If the row counts a network other than ours of that name: that network, and the evidence.
    counts: str = ""
    # Anything else a reader should know.
    remark: str = ""

    def printed(self, column: Column) -> float:
        """The figure printed in a cost column."""
        return {"params": self.params_m, "FLOPs": self.flops_g, "MAdd": self.madd_g, "memory": self.memory_mb}[column]


def _cifar100(file: str, counted: str) -> str:
    """Evidence that a row counts a network of the pytorch-cifar100 repository: equal digits in all four columns."""
    return (
        f"the row counts the network of weiaicunzai/pytorch-cifar100, models/{file}, which is designed for 32x32 "
        f"images and has 100 classes: torchstat 0.0.7 gives {counted} for it; the authors' README does not name it"
    )


PUBLISHED: dict[str, PublishedRow] = {
    "threshnet28": PublishedRow(
        network="threshnet28",
        gpu_ms=0.35,
        error_percent=14.75,
        params_m=10.18,
        flops_g=2.28,
        madd_g=4.55,
        memory_mb=83.26,
        head_classes=10,
        remark="its layers here were reconstructed from these figures, so their agreement is no evidence",
    ),
    "squeezenet": PublishedRow(
        network="squeezenet",
        gpu_ms=0.36,
        error_percent=14.25,
        params_m=0.78,
        flops_g=2.69,
        madd_g=5.32,
        memory_mb=211.42,
        head_classes=100,
        counts=_cifar100("squeezenet.py at 0d41819", "781,156 parameters, 2.688910 G, 5.315896 G and 211.4205 MB"),
    ),
    "mobilenet": PublishedRow(
        network="mobilenet",
        gpu_ms=0.38,
        error_percent=16.12,
        params_m=3.32,
        flops_g=2.34,
        madd_g=4.63,
        memory_mb=230.84,
        head_classes=100,
        counts=_cifar100("mobilenet.py at 0d41819", "3,315,428 parameters, 2.342318 G, 4.633457 G and 230.8402 MB"),
    ),
    "threshnet79": PublishedRow(
        network="threshnet79",
        gpu_ms=0.42,
        error_percent=13.66,
        params_m=14.31,
        flops_g=3.46,
        madd_g=6.90,
        memory_mb=109.68,
        head_classes=10,
        remark="another version of the authors' README (at 01da39b) prints 15.32 M, its count with 1000 classes",
    ),
    "hardnet68": PublishedRow(
        network="hardnet68",
        gpu_ms=0.44,
        error_percent=14.66,
        params_m=17.57,
        flops_g=4.26,
        madd_g=8.51,
        memory_mb=49.28,
        head_classes=1000,
    ),
    "mobilenet_v2": PublishedRow(
        network="mobilenet_v2",
        gpu_ms=0.46,
        error_percent=14.06,
        params_m=2.37,
        flops_g=2.42,
        madd_g=4.75,
        memory_mb=384.78,
        head_classes=100,
        counts=_cifar100("mobilenetv2.py at 03bbd58", "2,369,380 parameters, 2.424420 G, 4.747972 G and 384.7802 MB"),
    ),
    "threshnet95": PublishedRow(
        network="threshnet95",
        gpu_ms=0.46,
        error_percent=13.31,
        params_m=16.19,
        flops_g=4.07,
        madd_g=8.12,
        memory_mb=132.34,
        head_classes=10,
    ),
    "hardnet85": PublishedRow(
        network="hardnet85",
        gpu_ms=0.50,
        error_percent=13.89,
        params_m=36.67,
        flops_g=9.10,
        madd_g=18.18,
        memory_mb=74.65,
        head_classes=1000,
    ),
}


@dataclass(frozen=True)
class Claim:
    """A claim of the abstract: a network is faster or has fewer parameters than another."""

    # Names here, keys of NAMED or BASELINES.
    network: str
    than: str
    # The other network as named in the abstract, which does not say which ShuffleNet and EfficientNet it means.
    than_title: str
    measure: Literal["latency", "params"]
    # Latency, "x % faster": the other's time divided by the network's, minus one, which matches the times of the table
    # (0.44 / 0.42 and 0.46 / 0.42: 5 and 10 %). Params, "x % less": one minus the network's count divided by the
    # other's.
    percent: float


CLAIMS: tuple[Claim, ...] = (
    Claim("threshnet79", "hardnet68", "HarDNet68", "latency", 5),
    Claim("threshnet79", "ghostnet", "GhostNet", "latency", 9),
    Claim("threshnet79", "mobilenet_v2", "MobileNetV2", "latency", 10),
    Claim("threshnet79", "shufflenet_v2", "ShuffleNet", "latency", 18),
    Claim("threshnet79", "efficientnet_b0", "EfficientNet", "latency", 20),
    # With 10 and 1000 classes, respectively.
    Claim("threshnet95", "hardnet85", "HarDNet85", "params", 55),
)


@dataclass(frozen=True)
class Discrepancy:
    """A cost column in which the published figure differs from our count."""

    column: Column
    # Both in the column's unit.
    published: float
    counted: float
    # "explained" only if a source shows the reason.
    status: Literal["explained", "unexplained"]
    why: str


def discrepancies(row: PublishedRow, counted: Costs, with_its_head: Costs) -> tuple[Discrepancy, ...]:
    """The columns of `row` that differ from `counted` in a printed digit, with the reason.

    Both costs are ours at INPUT_SIZE: `counted` with the requested number of classes, `with_its_head` with the row's.
    """
    return tuple(_discrepancies(row, in_published_units(counted), in_published_units(with_its_head)))


def _discrepancies(
    row: PublishedRow, counted: dict[Column, float], with_its_head: dict[Column, float]
) -> Iterator[Discrepancy]:
    for column, ours in counted.items():
        printed = f"{row.printed(column):.2f}"
        if printed == f"{ours:.2f}":
            continue
        if row.counts:
            yield Discrepancy(column, row.printed(column), ours, "explained", row.counts)
        elif printed == f"{with_its_head[column]:.2f}":
            why = f"the published row counts a head of {row.head_classes} classes"
            yield Discrepancy(column, row.printed(column), ours, "explained", why)
        else:
            yield Discrepancy(column, row.printed(column), ours, "unexplained", "no source explains it")


def in_published_units(costs: Costs) -> dict[Column, float]:
    """Our costs in the units of the published columns."""
    return {
        "params": costs.params / 1e6,
        "FLOPs": costs.flops / 1e9,
        "MAdd": costs.madd / 1e9,
        "memory": costs.memory_mib,
    }
