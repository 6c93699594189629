"""Cells of a table of latencies: one named network, one runtime, one batch."""

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

CLASSES = 10  # of every measured network
INPUT_SIZE = 32  # pixels


@dataclass(frozen=True)
class Cell:
    """The outcome of one measurement."""

    network: str  # a name of threshnet.named
    runtime: str  # a name of search.latency.measure
    batch: int  # images in one run
    summary: Mapping[str, Any] | None  # what search.latency.reading.Latency.summary tells; None where it failed
    reason: str = ""  # why there is no summary, one line

    @property
    def title(self) -> str:
        """What the cell stands for, in print."""
        return f"{ABOUT[self.network].title}, {self.runtime}, batch {self.batch}"

    def told(self, per: int = 1) -> str:
        """Latency with its 95 % interval, ms, divided by `per`; a word where there is none."""
        if self.summary is None:
            return "not installed" if self.runtime == "openvino" and not find_spec("openvino") else "failed"
        return interval(*(self.summary[key] / per for key in ("latency_ms", "low_ms", "high_ms")))


def spec_of(network: str) -> NetworkSpec:
    """The named network with CLASSES classes, as all of them are measured."""
    return replace(named(network), classes=CLASSES)


def measured(device: Device | str, network: str, runtime: str, protocol: Protocol) -> Cell:
    """Measure one cell, telling of it on standard error; a failure is an outcome."""
    try:
        latency = measure_on(device, spec_of(network), INPUT_SIZE, runtime, protocol)
    except (InputError, MeasurementError) as error:
        cell = Cell(network, runtime, protocol.batch, None, str(error))
    else:
        cell = Cell(network, runtime, protocol.batch, latency.summary())
    sys.stderr.write(f"{cell.title}: {cell.told()}{' ms' if cell.summary else ''}\n")
    return cell


def remarks(cells: Iterable[Cell]) -> list[str]:
    """What is to be said below a table: why cells failed, and what speaks against readings, one Markdown item each."""
    lines = []
    for cell in cells:
        reading_warnings = cell.summary["warnings"] if cell.summary else [cell.reason]
        lines += [f"- {cell.title}: {doubt}" for doubt in reading_warnings]
    return lines


def ratio(above: Cell, below: Cell) -> tuple[float, float, float] | None:
    """(ratio, low, high) of two cells' latencies, None where one failed.

    The ends are those of the two 95 % intervals set against each other: both hold, and so does this, in 90 % at least
    (Bonferroni).
    """
    if above.summary is None or below.summary is None:
        return None
    top, bottom = above.summary, below.summary
    return (
        top["latency_ms"] / bottom["latency_ms"],
        top["low_ms"] / bottom["high_ms"],
        top["high_ms"] / bottom["low_ms"],
    )
