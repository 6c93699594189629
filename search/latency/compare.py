"""Compare the latency of several networks, measured interleaved in one run, with a verdict for each pair."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.latency.devices.device import Device
from search.latency.measure import Facts, bench, retried
from search.latency.onnx_files import Network
from search.latency.protocol import Protocol
from search.latency.reading import UNSTEADY, Rounds, changes

SAME_MARGIN = 0.02  # two latencies are considered the same if their ratio differs from 1 by at most this share
LOADS = 6  # minimum number of loads of the networks, since their placement in memory changes latency by about 1 %
LIMIT_S = 30.0  # seconds after which an undecided comparison ends
DRAWS = 2000  # bootstrap resamples
MAX_CYCLES = 40  # cycles of a load that are resampled, which limits the memory of a long comparison
CONFIDENCE = 0.95  # confidence level of the interval

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNDECIDED"]


@dataclass(frozen=True)
class Pair:
    """The comparison of networks `a` and `b`, which are indices into the list of networks."""

    a: int
    b: int
    # Ratio of the latency of a to the latency of b: the median of the least-disturbed cycles and its 95 % bootstrap
    # interval.
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
    # Median latency of each network in the least-disturbed cycles, in milliseconds. It is not corrected for the load of
    # the device.
    latency_ms: tuple[float, ...]
    # Total number of least-disturbed cycles over all loads, and the number of loads.
    cycles: int
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
    seed: int = 0,
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Measure two or more networks interleaved and compare all pairs, until every pair is decided or time is up.

    The networks are loaded at least LOADS times; undecided pairs are loaded again as long as another load fits into
    `limit_s` seconds. After each load, the measurement takes min_s of the protocol per network, or six cycles. A
    network may occur twice. Raises InputError and MeasurementError in the same cases as measure_on.
    """
    share = replace(protocol, min_s=protocol.min_s * len(networks), max_s=protocol.max_s * len(networks), tolerance=1.0)

    def once(device: Device) -> tuple[Facts, list[Rounds], tuple[Pair, ...]]:
        taken: list[Rounds] = []
        began = clock()
        with bench(device, networks, input_size, runtime, protocol) as ready:
            while True:
                facts = ready.load()
                taken.append(ready.rounds(range(len(networks)), share))
                if len(taken) < LOADS:
                    continue
                pairs = _pairs([rounds.counted_medians for rounds in taken], seed)
                passed = clock() - began
                if all(pair.verdict != "UNDECIDED" for pair in pairs) or passed * (1 + 1 / len(taken)) > limit_s:
                    return facts, taken, pairs

    facts, taken, pairs = retried(device, once)
    loads = [rounds.counted_medians for rounds in taken]
    unsteady = [] if all(rounds.steady for rounds in taken) else [UNSTEADY]
    warnings = [*facts.notes, *unsteady, *(change for one in taken for change in changes(one.before, one.after))]
    return Comparison(
        pairs=pairs,
        latency_ms=tuple(np.median(np.concatenate(loads, axis=1), axis=1).tolist()),
        cycles=sum(load.shape[1] for load in loads),
        loads=len(loads),
        processor=facts.processor,
        runtime=runtime,
        runtime_version=facts.runtime_version,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _pairs(loads: Sequence[NDArray[np.float64]], seed: int) -> tuple[Pair, ...]:
    """Compare all pairs of networks; each load is (networks, cycles) in ms."""
    generator = np.random.default_rng(seed)
    return tuple(_pair(loads, a, b, generator) for a, b in itertools.combinations(range(len(loads[0])), 2))


def _pair(loads: Sequence[NDArray[np.float64]], a: int, b: int, generator: np.random.Generator) -> Pair:
    """Compare two networks; the bootstrap resamples loads, then cycles, because the cycles of a load are correlated.

    Every load counts with as many cycles as the shortest one, at most MAX_CYCLES. As a comparison may end after any
    load, the interval holds the true ratio in somewhat less than 95 % of comparisons.
    """
    cycles = min(MAX_CYCLES, *(load.shape[1] for load in loads))
    ratios = np.stack([(load[a] / load[b])[:cycles] for load in loads])
    load = generator.integers(len(ratios), size=(DRAWS, len(ratios), 1))
    cycle = generator.integers(cycles, size=(DRAWS, len(ratios), cycles))
    resampled = np.median(ratios[load, cycle].reshape(DRAWS, -1), axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, (tail, 100 - tail))
    middle = float(np.median(ratios))
    return Pair(a, b, middle, min(float(low), middle), max(float(high), middle))
