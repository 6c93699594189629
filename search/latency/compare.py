"""Compare the latency of several networks, measured interleaved in one run, with a verdict for each pair."""

import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from search.latency.devices.device import Device
from search.latency.lease import CPU
from search.latency.measure import Facts, bench, retried
from search.latency.onnx_files import Network
from search.latency.probes.probe import CONFIDENCE
from search.latency.protocol import Plan, Protocol
from search.latency.reading import UNSTEADY, Rounds, changes

SAME_MARGIN = 0.02  # two latencies are considered the same if their ratio differs from 1 by at most this share
# The placement of networks in memory changes their latency by up to 5 %, so many short loads are better than a few long
# ones. Networks that were loaded or timed first may be slower, so every second load is in reverse order, and two
# successive loads give one ratio.
LOADS = 20  # minimum number of loads for a verdict before the time is up
MIN_LOADS = 12  # minimum number of loads, as the 95 % interval does not exist for fewer than six ratios
QUANTILE = 0.25  # quantile of the runs after a load that counts, since interference only ever adds time
SPAN_S = 0.1  # minimum seconds of the rounds after a load, for each network
LIMIT_S = 22.0  # seconds after which an undecided comparison ends
MAX_EXACT = 50  # number of ratios up to which the interval is computed exactly
MIN_STEADY = 0.5  # share of the loads whose latency must be steady after the warm-up
# After a load, short rounds follow. In three cycles, each network of a pair has one round directly after its own, with
# warm caches. On this machine's CPU, whose clock does not fall meanwhile, the warm-up is short.
PLAN = Plan(round_runs=6, discard=1, warmup_s=0.01, min_s=0.0, max_s=0.0, tolerance=1.0, min_cycles=3)

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNDECIDED"]


@dataclass(frozen=True)
class Pair:
    """The comparison of networks `a` and `b`, which are indices into the list of networks."""

    a: int
    b: int
    # Ratio of the latency of a to the latency of b: the pseudomedian over pairs of loads and its 95 % interval.
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
    # Latency of each network in milliseconds: the median over the loads of the first quartile of the runs. It is not
    # corrected for the load of the device.
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

    The networks are loaded at least LOADS times, and as long as two more loads fit into `limit_s` seconds if a pair is
    undecided; on a slow device, they are loaded at least MIN_LOADS times. After each load, the measurement takes the
    rounds of PLAN for SPAN_S seconds per network, with the warm-up of the protocol except on a CPU of this machine. A
    network may occur twice. Raises InputError and MeasurementError in the same cases as measure_on.
    """
    span_s = SPAN_S * len(networks)
    plan = replace(PLAN, min_s=span_s, max_s=span_s)
    plan = plan if device.lease == CPU else replace(plan, warmup_s=protocol.warmup_s)

    def once(device: Device) -> tuple[Facts, list[Rounds], NDArray[np.float64]]:
        taken: list[Rounds] = []
        latencies: list[NDArray[np.float64]] = []
        with bench(device, networks, input_size, runtime, protocol) as ready:
            began = clock()
            while True:
                for direction in (1, -1):
                    facts = ready.load(backwards=direction < 0)
                    taken.append(ready.rounds(range(len(networks)), plan))
                    latencies.append(np.quantile(taken[-1].counted_ms, QUANTILE, axis=(1, 2))[::direction])
                if len(taken) < MIN_LOADS:
                    continue
                loads = np.array(latencies)
                decided = all(pair.verdict != "UNDECIDED" for pair in compared(loads))
                passed = clock() - began
                if (decided and len(taken) >= LOADS) or passed * (1 + 2 / len(taken)) > limit_s:
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
    """Compare all pairs of networks by their latencies (loads, networks) in ms.

    The number of loads is even and at least MIN_LOADS, every second one is in reverse order, and two successive loads
    give one ratio. As a comparison may end after any two loads, the interval holds the true ratio in somewhat less than
    95 % of comparisons.
    """
    networks = loads.shape[1]
    logs = np.log(loads).reshape(-1, 2, networks).mean(axis=1)
    return tuple(_pair(a, b, logs[:, a] - logs[:, b]) for a, b in itertools.combinations(range(networks), 2))


def _pair(a: int, b: int, logs: NDArray[np.float64]) -> Pair:
    ratio, low, high = map(math.exp, pseudomedian(logs))
    return Pair(a, b, ratio, low, high)


def pseudomedian(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the pseudomedian of values (n,) and the interval (low, high) that contains it in at least 95 % of cases.

    The values have any symmetric distribution. The pseudomedian, or Hodges-Lehmann estimate, is the median of the means
    of all pairs of values, including pairs of a value with itself. Its interval is almost as narrow as that of a mean
    of normally distributed values, and outliers hardly change it. It follows from Wilcoxon's signed-rank test, for
    n > MAX_EXACT in the normal approximation (Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, 3rd ed.,
    sections 3.2 and 3.3). For n < 6, there is no such interval, and the minimum and maximum are returned.
    """
    first, second = np.triu_indices(len(values))
    means = np.sort((values[first] + values[second]) / 2)
    rank = max(1, _signed_rank_quantile(len(values)))
    return float(np.median(means)), float(means[rank - 1]), float(means[-rank])


@functools.cache
def _signed_rank_quantile(n: int) -> int:
    """Return the largest k for which Wilcoxon's signed-rank statistic of n values is below k in at most 2.5 % of cases.

    For n > MAX_EXACT, this is the rounded-down normal approximation.
    """
    tail = (1 - CONFIDENCE) / 2
    if n > MAX_EXACT:
        deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return math.floor(n * (n + 1) / 4 + float(ndtri(tail)) * deviation)
    probabilities = np.ones(1)
    for rank in range(1, n + 1):
        probabilities = (np.pad(probabilities, (0, rank)) + np.pad(probabilities, (rank, 0))) / 2
    return int(np.searchsorted(np.cumsum(probabilities), tail, side="right"))
