"""Cells of a latency table: one named network with one runtime and one batch size."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from benchmarks.report import interval
from search.latency.devices.device import Device
from search.latency.measure import measure_on
from search.latency.protocol import MeasurementError, Protocol
from threshnet.errors import InputError
from threshnet.named import ABOUT, named
from threshnet.spec import NetworkSpec

CLASSES = 10  # number of classes of every measured network
INPUT_SIZE = 32  # pixels


@dataclass(frozen=True)
class Cell:
    """The result of one measurement."""

    network: str  # a name in threshnet.named
    runtime: str  # a name in search.latency.measure
    batch: int  # images per run
    summary: Mapping[str, Any] | None  # search.latency.reading.Latency.summary, None if the measurement failed
    reason: str = ""  # why the measurement failed, in one line

    @property
    def title(self) -> str:
        """Network, runtime and batch size in words."""
        return f"{ABOUT[self.network].title}, {self.runtime}, batch {self.batch}"

    def text(self, per: int = 1) -> str:
        """Format the latency divided by `per` with its 95 % interval, in ms, or return "failed" or "not installed"."""
        if self.summary is None:
            return "not installed" if self.runtime == "openvino" and not find_spec("openvino") else "failed"
        return interval(*(self.summary[key] / per for key in ("latency_ms", "low_ms", "high_ms")))


def spec_of(network: str) -> NetworkSpec:
    """Return the spec of a named network with CLASSES classes."""
    return replace(named(network), classes=CLASSES)


def measure_cell(device: Device, network: str, runtime: str, protocol: Protocol) -> Cell:
    """Measure one cell and report it on standard error. If the measurement fails, the cell contains the reason."""
    try:
        latency = measure_on(device, spec_of(network), INPUT_SIZE, runtime, protocol)
    except (InputError, MeasurementError) as error:
        cell = Cell(network, runtime, protocol.batch, None, str(error))
    else:
        cell = Cell(network, runtime, protocol.batch, latency.summary())
    sys.stderr.write(f"{cell.title}: {cell.text()}{' ms' if cell.summary else ''}\n")
    return cell


def notes(cells: Iterable[Cell]) -> list[str]:
    """Return the notes below a table as Markdown items: the reasons for failures and the warnings about readings."""
    lines = []
    for cell in cells:
        texts = cell.summary["warnings"] if cell.summary else [cell.reason]
        lines += [f"- {cell.title}: {text}" for text in texts]
    return lines


def ratio(above: Cell, below: Cell) -> tuple[float, float, float] | None:
    """Return the ratio of two latencies as (ratio, low, high), or None if a measurement failed.

    The interval combines the ends of both 95 % intervals, so its coverage is at least 90 % (Bonferroni).
    """
    if above.summary is None or below.summary is None:
        return None
    top, bottom = above.summary, below.summary
    return (
        top["latency_ms"] / bottom["latency_ms"],
        top["low_ms"] / bottom["high_ms"],
        top["high_ms"] / bottom["low_ms"],
    )
