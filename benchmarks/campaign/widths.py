"""The networks of the factorial, with widths for equal latency: `python -m benchmarks.campaign.widths`.

For each size and threshold, many widths are measured, interleaved with the dense network in one run: first growths,
then transitions for the growths that come closest. Of all widths with nearly the latency of the dense network, those
are chosen that are closest to a multiple of its widths. The networks of a size are then measured in one run, and each
pair must agree within 3 %. The networks are recorded before the first of them is trained. It takes about 15 minutes on
an idle machine.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import pstdev
from typing import Any

from benchmarks.campaign.networks import FACTORIAL_SIZES, FactorialSize, Widths, factorial_network
from benchmarks.campaign.units import commit, report
from benchmarks.cells import INPUT_SIZE
from search.latency.compare import Comparison, Pair, compare_on
from search.latency.devices.named import device_named
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError
from studies.environment import environment
from threshnet.errors import InputError
from threshnet.schedules import DENSE, THRESHOLD_NAMES
from threshnet.spec import NetworkSpec

FILE = Path(__file__).parents[1] / "results" / "campaign" / "widths.json"
DEVICE, RUNTIME = "cpu", "onnxruntime"
TOLERANCE = 0.03  # largest difference of two latencies of a size, as a share
CLOSE = 0.01  # widths whose latencies differ less from the dense network's are equally good
# ONNX Runtime computes convolutions in blocks of 16 channels on a processor with AVX-512. Measured latencies rise at
# multiples of 16 only, so other widths would handicap a network.
GRAIN = 16
MAX_GROWTH, MAX_RISE = 96, 4  # largest growth, and largest ratio of the growths of successive blocks
FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # transitions to try, as multiples of the dense network's
NEAREST = 5  # number of growths for which all transitions are tried


def networks() -> dict[str, dict[str, NetworkSpec]]:
    """Read the networks by size and threshold name; raises InputError if they are not recorded."""
    return {
        size: {name: NetworkSpec.from_json(entry["spec"]) for name, entry in entries.items()}
        for size, entries in _recorded()["sizes"].items()
    }


def latencies_ms() -> dict[str, dict[str, float]]:
    """Read the latency of each network in milliseconds, by size and threshold name."""
    sizes = _recorded()["sizes"]
    return {size: {name: entry["latency_ms"] for name, entry in entries.items()} for size, entries in sizes.items()}


def warnings() -> list[str]:
    """Read the reasons why the latencies may be unreliable."""
    return list(_recorded()["warnings"])


def _recorded() -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(FILE.read_text())
    except (OSError, ValueError):
        raise InputError(f"{FILE}: missing or damaged; run python -m benchmarks.campaign.widths") from None
    return document


def compare(specs: Sequence[NetworkSpec]) -> Comparison:
    """Measure networks interleaved in one run."""
    return compare_on(device_named(DEVICE), specs, INPUT_SIZE, RUNTIME, DEFAULT_PROTOCOL)


def growths(blocks: int) -> list[tuple[int, ...]]:
    """Return the growths to try: multiples of GRAIN that never fall from block to block."""
    found: list[tuple[int, ...]] = [(growth,) for growth in range(GRAIN, MAX_GROWTH + 1, GRAIN)]
    for _ in range(blocks - 1):
        found = [
            (*before, growth)
            for before in found
            for growth in range(before[-1], min(MAX_RISE * before[-1], MAX_GROWTH) + 1, GRAIN)
        ]
    return found


def transitions(size: FactorialSize) -> list[tuple[int, ...]]:
    """Return the transitions to try: multiples of the dense network's, rounded to multiples of GRAIN."""
    scaled = [
        tuple(max(GRAIN, GRAIN * round(factor * width / GRAIN)) for width in size.dense.transitions)
        for factor in FACTORS
    ]
    return list(dict.fromkeys(scaled))


def distortion(widths: Widths, size: FactorialSize) -> float:
    """Return how far widths are from a multiple of the dense network's: the spread of the logarithms of the ratios."""
    pairs = zip(widths.growths + widths.transitions, size.dense.growths + size.dense.transitions, strict=True)
    return pstdev(math.log(width / dense) for width, dense in pairs)


def ratios(threshold: int, size: FactorialSize, tried: Sequence[Widths]) -> list[float]:
    """Measure the latencies of networks, relative to that of the dense network, in one run."""
    dense = factorial_network(DENSE, size, size.dense)
    latencies = compare([dense, *(factorial_network(threshold, size, widths) for widths in tried)]).latency_ms
    return [latency / latencies[0] for latency in latencies[1:]]


def widths_of(threshold: int, size: FactorialSize) -> Widths:
    """Return the widths with which a network is as fast as the dense network of its size.

    Raises MeasurementError if no widths are close enough.
    """
    rough = [Widths(each, size.dense.transitions) for each in growths(len(size.pools))]
    first = dict(zip(rough, ratios(threshold, size, rough), strict=True))
    nearest = sorted(first, key=lambda widths: abs(first[widths] - 1))[:NEAREST]
    fine = [replace(widths, transitions=each) for widths in nearest for each in transitions(size)]
    second = dict(zip(fine, ratios(threshold, size, fine), strict=True))
    closest = min(abs(ratio - 1) for ratio in second.values())
    if closest > TOLERANCE / 2:
        raise MeasurementError(f"{THRESHOLD_NAMES[threshold]}: the closest latency differs by {closest:.1%}")
    close = [widths for widths in fine if abs(second[widths] - 1) <= max(CLOSE, closest)]
    best = min(close, key=lambda widths: distortion(widths, size))
    report(f"{THRESHOLD_NAMES[threshold]}: {best}, ratio {second[best]:.3f}")
    return best


def agrees(pair: Pair) -> bool:
    """True if both latencies agree within TOLERANCE."""
    return abs(pair.ratio - 1) <= TOLERANCE


def main(arguments: Sequence[str] | None = None) -> int:
    """Search the widths and write the file. The status is 1 if latencies do not agree; then nothing is written."""
    if arguments:
        sys.exit("error: takes no arguments")
    sizes: dict[str, dict[str, Any]] = {}
    pairs: dict[str, list[dict[str, Any]]] = {}
    unreliable: list[str] = []
    try:
        for name, size in FACTORIAL_SIZES.items():
            widths = [size.dense if t == DENSE else widths_of(t, size) for t in range(len(THRESHOLD_NAMES))]
            specs = [factorial_network(threshold, size, each) for threshold, each in enumerate(widths)]
            together = compare(specs)
            apart = [pair for pair in together.pairs if not agrees(pair)]
            if apart:
                differing = ", ".join(f"{THRESHOLD_NAMES[p.a]}/{THRESHOLD_NAMES[p.b]} {p.ratio:.3f}" for p in apart)
                raise MeasurementError(f"{name}: latencies differ by more than {TOLERANCE:.0%}: {differing}")
            pairs[name] = [asdict(pair) for pair in together.pairs]
            unreliable += together.warnings
            sizes[name] = {
                links: {"latency_ms": latency, "spec": spec.to_json()}
                for links, latency, spec in zip(THRESHOLD_NAMES, together.latency_ms, specs, strict=True)
            }
    except MeasurementError as error:
        sys.stderr.write(f"widths: {error}\n")
        return 1
    document = {"sizes": sizes, "pairs": pairs, "warnings": unreliable, "commit": commit()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(document | {"conditions": environment()}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
