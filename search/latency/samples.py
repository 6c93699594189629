"""The raw samples of a latency reading: their statistics, and the CSV file in which a study stores them."""

import csv
import io
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from search.latency.probes.probe import (
    counted_times,
    least_disturbed_cycles,
    lost_processor,
    ratio_interval,
    round_medians,
)
from threshnet.errors import InputError, require

RoundsMs = tuple[tuple[float, ...], ...]
COLUMNS = ["round", "run", "ms", "reference_ms"]  # of the CSV file; one row for each run
CPU_COLUMNS = ["cpu_ms", "reference_cpu_ms"]  # further columns if the CPU times are known


class Statistics(TypedDict):
    """The statistics of a reading, which are fields of search.latency.reading.Latency."""

    latency_ms: float
    low_ms: float
    high_ms: float
    relative_iqr: float
    slowdown: float
    runs: int
    rounds: int
    lost: int


@dataclass(frozen=True)
class Samples:
    """The runs of a network and of the reference network, which were measured interleaved.

    Raises InputError unless both networks have the same number of rounds and runs, and all times are positive and
    finite.
    """

    rounds_ms: RoundsMs  # wall times [cycle][run] of the network, in milliseconds
    reference_rounds_ms: RoundsMs  # wall times [cycle][run] of the reference network in the same cycles
    cpu_ms: RoundsMs | None = None  # CPU times of the network, None if they are not known
    reference_cpu_ms: RoundsMs | None = None  # CPU times of the reference network, None if those of the network are

    def __post_init__(self) -> None:
        check_rounds(tuple(column for column in self._columns() if column is not None))

    def _columns(self) -> tuple[RoundsMs | None, ...]:
        return self.rounds_ms, self.reference_rounds_ms, self.cpu_ms, self.reference_cpu_ms

    @cached_property
    def counted_ms(self) -> NDArray[Any]:
        """The times (cycles, runs) of the network in ms that count: wall times, or CPU times of disturbed runs."""
        return np.asarray(counted_times(self.rounds_ms, self.cpu_ms))

    @cached_property
    def counted_cycles(self) -> NDArray[np.int64]:
        """The indices of the least-disturbed cycles, which determine the reading."""
        return least_disturbed_cycles(self._medians)

    @cached_property
    def _medians(self) -> NDArray[np.float64]:
        reference = counted_times(self.reference_rounds_ms, self.reference_cpu_ms)
        return round_medians(np.stack([reference, self.counted_ms]))

    def statistics(self, reference_ms: float) -> Statistics:
        """Compute the statistics; `reference_ms` is the latency of the reference network on the idle device.

        Raises InputError unless `reference_ms` is positive and finite.
        """
        require(math.isfinite(reference_ms) and reference_ms > 0, "reference_ms", reference_ms, "a number above 0")
        ratio, low, high = ratio_interval(self._medians, 1)
        quartiles = np.percentile(self.counted_ms[self.counted_cycles], (25, 50, 75))
        return {
            "latency_ms": ratio * reference_ms,
            "low_ms": low * reference_ms,
            "high_ms": high * reference_ms,
            "relative_iqr": float((quartiles[2] - quartiles[0]) / quartiles[1]),
            "slowdown": ratio_interval(self._medians, 0)[0] / reference_ms,
            "runs": sum(map(len, self.rounds_ms)),
            "rounds": len(self.rounds_ms),
            "lost": 0 if self.cpu_ms is None else int(lost_processor(self.rounds_ms, self.cpu_ms).sum()),
        }

    def to_csv(self) -> str:
        """Return the samples as CSV with the columns COLUMNS, and CPU_COLUMNS if known; rounds and runs start at 1."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        columns = [column for column in self._columns() if column is not None]
        table.writerow([*COLUMNS, *CPU_COLUMNS][: 2 + len(columns)])
        for number, runs in enumerate(zip(*columns, strict=True), start=1):
            table.writerows([number, run, *times] for run, times in enumerate(zip(*runs, strict=True), start=1))
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str, source: str) -> Self:
        """Parse the text of to_csv; raises InputError, which names `source`, if it is malformed."""
        try:
            header, *rows = [*csv.reader(io.StringIO(text))] or [[]]
            if header not in (COLUMNS, [*COLUMNS, *CPU_COLUMNS]):
                raise ValueError(f"the columns are {', '.join(header)}")
            if any(len(row) != len(header) for row in rows):
                raise ValueError("a row has not one value for each column")
            rounds = [list(runs) for _, runs in groupby(rows, key=lambda row: row[0])]
            columns = range(2, len(header))
            return cls(*(tuple(tuple(float(row[at]) for row in runs) for runs in rounds) for at in columns))
        except (ValueError, csv.Error) as error:
            raise InputError(f"{source}: no latency samples ({error})") from None


def check_rounds(networks: tuple[RoundsMs, ...]) -> None:
    """Raise InputError unless interleaved rounds have the same shape, and all times are positive and finite."""
    cycles = {len(network) for network in networks}
    runs = {len(one) for network in networks for one in network}
    if len(cycles) != 1 or len(runs) != 1 or 0 in cycles | runs:
        raise InputError("rounds_ms must have the same number of rounds and runs for each network")
    if not all(math.isfinite(ms) and ms > 0 for network in networks for one in network for ms in one):
        raise InputError("rounds_ms must be positive finite milliseconds")
