"""Which of several networks is faster: measured in one run, in turns, pair by pair with a verdict."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.latency.devices.device import Device
from search.latency.measure import Facts, bench, retried
from search.latency.onnx_files import Network
from search.latency.probes.probe import least_disturbed_cycles, round_medians
from search.latency.protocol import Protocol
from search.latency.reading import UNSTEADY, Rounds, changes

MARGIN = 0.02  # latencies within this share of each other are the same
LOADS = 6  # times that the networks are loaded anew: where they come to lie in memory moves latency by a percent or so
DRAWS = 2000  # bootstrap resamples
CONFIDENCE = 0.95  # of the interval

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNDECIDED"]


@dataclass(frozen=True)
class Pair:
    """Network `a` against network `b`, by their numbers in the run."""

    a: int
    b: int
    # Latency of a over that of b: median of the quiet cycles, and the ends of its 95 % bootstrap interval.
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What a is, compared to b: SAME inside the margin, FASTER or SLOWER wholly outside, else UNDECIDED."""
        if self.low >= 1 - MARGIN and self.high <= 1 + MARGIN:
            return "SAME"
        if self.high < 1 - MARGIN:
            return "FASTER"
        if self.low > 1 + MARGIN:
            return "SLOWER"
        return "UNDECIDED"


@dataclass(frozen=True)
class Comparison:
    """Several networks measured in turns."""

    pairs: tuple[Pair, ...]
    # Median milliseconds of each network in the quiet cycles; not corrected for how busy the device was.
    latency_ms: tuple[float, ...]
    # Quiet cycles, all loads together.
    cycles: int
    processor: str
    runtime: str
    runtime_version: str
    # Reasons to distrust the comparison, one line each.
    warnings: tuple[str, ...]


def compare_on(
    device: Device, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol, seed: int = 0
) -> Comparison:
    """Measure two or more networks in turns, each loaded LOADS times, and compare them pair by pair.

    Each load takes the protocol's min_s per network, or six cycles. A network may occur twice. Raises InputError and
    MeasurementError as measure_on does.
    """
    share = replace(protocol, min_s=protocol.min_s * len(networks), max_s=protocol.max_s * len(networks), tolerance=1.0)

    def once(device: Device) -> tuple[Facts, list[Rounds]]:
        loads = []
        with bench(device, networks, input_size, runtime, protocol) as ready:
            for _ in range(LOADS):
                facts = ready.load()
                loads.append(ready.rounds(range(len(networks)), share))
        return facts, loads

    facts, taken = retried(device, once)
    loads = [_quiet(rounds) for rounds in taken]
    unsteady = [] if all(rounds.steady for rounds in taken) else [UNSTEADY]
    told = [*facts.notes, *unsteady, *(change for one in taken for change in changes(one.before, one.after))]
    generator = np.random.default_rng(seed)
    return Comparison(
        pairs=tuple(_pair(loads, a, b, generator) for a, b in itertools.combinations(range(len(networks)), 2)),
        latency_ms=tuple(np.median(np.concatenate(loads, axis=1), axis=1).tolist()),
        cycles=sum(load.shape[1] for load in loads),
        processor=facts.processor,
        runtime=runtime,
        runtime_version=facts.runtime_version,
        warnings=tuple(dict.fromkeys(told)),
    )


def _quiet(rounds: Rounds) -> NDArray[np.float64]:
    """Medians (networks, cycles) in ms of the quiet cycles."""
    medians = round_medians(rounds.rounds_ms)
    return medians[:, least_disturbed_cycles(medians)]


def _pair(loads: Sequence[NDArray[np.float64]], a: int, b: int, generator: np.random.Generator) -> Pair:
    """Compare two networks, resampling first loads and then their cycles, as those of one load have much in common."""
    ratios = [load[a] / load[b] for load in loads]
    drawn = []
    for _ in range(DRAWS):
        chosen = [ratios[load] for load in generator.integers(len(ratios), size=len(ratios))]
        drawn.append(np.median(np.concatenate([generator.choice(one, size=len(one)) for one in chosen])))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, (tail, 100 - tail))
    return Pair(a, b, float(np.median(np.concatenate(ratios))), float(low), float(high))
