"""Compare the latency of several networks, measured interleaved in one run, with a verdict for each pair."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.latency.devices.device import Device
from search.latency.lease import CPU
from search.latency.measure import Facts, bench, retried
from search.latency.onnx_files import Network
from search.latency.probes.probe import median_interval
from search.latency.protocol import Protocol
from search.latency.reading import UNSTEADY, Rounds, changes

SAME_MARGIN = 0.02  # two latencies are considered the same if their ratio differs from 1 by at most this share
# The placement of networks in memory changes their latency by up to 5 %, so many short loads are better than a few long
# ones: every load gives one ratio, and the interval is that of the median over all loads.
LOADS = 10  # minimum number of loads for a verdict before the time is up
MIN_LOADS = 6  # minimum number of loads, the 95 % interval of a median does not exist for fewer
CYCLES = 2  # cycles in each load, one forwards and one backwards
WARMUP_S = 0.02  # maximum seconds of warm-up in each load on this machine's CPU, whose clock does not fall meanwhile
MIN_STEADY = 0.5  # share of the loads whose latency must be steady after the warm-up
LIMIT_S = 25.0  # seconds after which an undecided comparison ends

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNDECIDED"]


@dataclass(frozen=True)
class Pair:
    """The comparison of networks `a` and `b`, which are indices into the list of networks."""

    a: int
    b: int
    # Ratio of the latency of a to the latency of b: the median over the loads and its 95 % interval.
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Compare a with b: SAME if the interval is within the margin, FASTER or SLOWER if it is outside."""
        if self.low >= 1 - SAME_MARGIN and self.high <= 1 + SAME_MARGIN:
            return "SAME"
        if self.high < 1 - SAME_MARGIN:
            return "FASTER"
        if self.low > 1 + SAME_MARGIN:
            return "SLOWER"
        return "UNDECIDED"


@dataclass(frozen=True)
class Comparison:
    """The result of comparing several networks."""

    pairs: tuple[Pair, ...]
    # Median latency of each network over the loads, in milliseconds. It is not corrected for the load of the device.
    latency_ms: tuple[float, ...]
    # How often the networks were loaded.
    loads: int
    processor: str
    runtime: str
    runtime_version: str
    # Reasons why the comparison may be unreliable, one line each.
    warnings: tuple[str, ...]


def compare_on(
    device: Device,
    networks: Sequence[Network],
    input_size: int,
    runtime: str,
    protocol: Protocol,
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Measure two or more networks interleaved and compare all pairs, until every pair is decided or time is up.

    The networks are loaded at least LOADS times, and as long as another load fits into `limit_s` seconds if a pair is
    undecided; on a slow device, they are loaded at least MIN_LOADS times. After each load, the measurement takes CYCLES
    cycles; min_s, max_s and the tolerance of the protocol are not used. A network may occur twice. Raises InputError
    and MeasurementError in the same cases as measure_on.
    """
    warmup_s = min(protocol.warmup_s, WARMUP_S) if device.lease == CPU else protocol.warmup_s
    share = replace(protocol, warmup_s=warmup_s, min_s=0.0, max_s=0.0, tolerance=1.0)

    def once(device: Device) -> tuple[Facts, list[Rounds], NDArray[np.float64]]:
        taken: list[Rounds] = []
        with bench(device, networks, input_size, runtime, protocol) as ready:
            began = clock()
            while True:
                facts = ready.load()
                taken.append(ready.rounds(range(len(networks)), share, CYCLES))
                if len(taken) < MIN_LOADS:
                    continue
                loads = np.array([np.median(rounds.medians, axis=1) for rounds in taken])
                decided = all(pair.verdict != "UNDECIDED" for pair in compared(loads))
                passed = clock() - began
                if (decided and len(taken) >= LOADS) or passed * (1 + 1 / len(taken)) > limit_s:
                    return facts, taken, loads

    facts, taken, loads = retried(device, once)
    unsteady = [UNSTEADY] if np.mean([rounds.steady for rounds in taken]) < MIN_STEADY else []
    warnings = [*facts.notes, *unsteady, *(change for one in taken for change in changes(one.before, one.after))]
    return Comparison(
        pairs=compared(loads),
        latency_ms=tuple(np.median(loads, axis=0).tolist()),
        loads=len(loads),
        processor=facts.processor,
        runtime=runtime,
        runtime_version=facts.runtime_version,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def compared(loads: NDArray[np.float64]) -> tuple[Pair, ...]:
    """Compare all pairs of networks by their latencies (loads, networks) in ms, from at least six loads.

    The interval of a ratio is distribution-free, see `median_interval`. As a comparison may end after any load, it
    holds the true ratio in somewhat less than 95 % of comparisons.
    """
    logs = np.log(loads)
    return tuple(_pair(a, b, logs[:, a] - logs[:, b]) for a, b in itertools.combinations(range(logs.shape[1]), 2))


def _pair(a: int, b: int, logs: NDArray[np.float64]) -> Pair:
    low, high = median_interval(logs.tolist())
    return Pair(a, b, math.exp(np.median(logs)), math.exp(low), math.exp(high))
