"""The networks of the factorial, with widths for equal latency: `python -m benchmarks.campaign.widths`.

The harmonic network of each size has scale 1. The scales of the other networks are searched with measured latencies,
interleaved with the harmonic network's in one run, until the ratio is close to 1. All networks of a size are then
measured in one run, and each pair must agree within 3 %. The networks are recorded before the first of them is trained.
It takes about 15 minutes on an idle machine.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.campaign.networks import FACTORIAL_SIZES, factorial_network
from benchmarks.campaign.units import commit, report
from benchmarks.cells import INPUT_SIZE
from search.latency.compare import Comparison, Pair, compare_on
from search.latency.devices.named import device_named
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError
from studies.environment import environment
from threshnet.errors import InputError
from threshnet.schedules import HARMONIC, THRESHOLD_NAMES
from threshnet.spec import NetworkSpec

FILE = Path(__file__).parents[1] / "results" / "campaign" / "widths.json"
DEVICE, RUNTIME = "cpu", "onnxruntime"
TOLERANCE = 0.03  # largest difference of two latencies of a size, as a share
CLOSE = 0.01  # the search of a scale ends at this difference to the harmonic network
STEPS = 8  # largest number of scales to try
EXPONENT = 1.5  # the latency is about proportional to this power of the scale


def networks() -> dict[str, dict[str, NetworkSpec]]:
    """Read the networks by size and threshold name; raises InputError if they are not recorded."""
    return {
        size: {name: NetworkSpec.from_json(entry["spec"]) for name, entry in entries.items()}
        for size, entries in _sizes().items()
    }


def relative_latencies() -> dict[str, dict[str, float]]:
    """Read the ratio of each network's latency to that of the harmonic network, by size and threshold name."""
    return {size: {name: entry["ratio"] for name, entry in entries.items()} for size, entries in _sizes().items()}


def _sizes() -> dict[str, dict[str, Any]]:
    try:
        sizes: dict[str, dict[str, Any]] = json.loads(FILE.read_text())["sizes"]
    except (OSError, ValueError, KeyError):
        raise InputError(f"{FILE}: missing or damaged; run python -m benchmarks.campaign.widths") from None
    return sizes


def compare(specs: Sequence[NetworkSpec]) -> Comparison:
    """Measure networks interleaved in one run."""
    return compare_on(device_named(DEVICE), specs, INPUT_SIZE, RUNTIME, DEFAULT_PROTOCOL)


def scale_of(threshold: int, size: str) -> float:
    """Search the scale at which a network is as fast as the harmonic network of its size.

    Raises MeasurementError if none of STEPS scales is within CLOSE.
    """
    reference, scale, tried = factorial_network(HARMONIC, size, 1.0), 1.0, dict[float, float]()
    for _ in range(STEPS):
        (pair,) = compare([factorial_network(threshold, size, scale), reference]).pairs
        tried[abs(pair.ratio - 1)] = scale
        report(f"{size}, {THRESHOLD_NAMES[threshold]}: scale {scale:.3f}, ratio {pair.ratio:.3f}")
        if abs(pair.ratio - 1) <= CLOSE:
            break
        scale *= pair.ratio ** (-1 / EXPONENT)
    best = min(tried)
    if best > TOLERANCE / 2:
        raise MeasurementError(f"{size}, {THRESHOLD_NAMES[threshold]}: no scale within {TOLERANCE / 2:.1%}")
    return tried[best]


def agrees(pair: Pair) -> bool:
    """True if both latencies agree within TOLERANCE."""
    return abs(pair.ratio - 1) <= TOLERANCE


def main(arguments: Sequence[str] | None = None) -> int:
    """Search the widths and write the file. The status is 1 if latencies do not agree; then nothing is written."""
    if arguments:
        sys.exit("error: takes no arguments")
    sizes: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    try:
        for size in FACTORIAL_SIZES:
            scales = [1.0 if t == HARMONIC else scale_of(t, size) for t in range(len(THRESHOLD_NAMES))]
            specs = [factorial_network(threshold, size, scale) for threshold, scale in enumerate(scales)]
            together = compare(specs)
            apart = [pair for pair in together.pairs if not agrees(pair)]
            if apart:
                pairs = ", ".join(f"{THRESHOLD_NAMES[p.a]}/{THRESHOLD_NAMES[p.b]} {p.ratio:.3f}" for p in apart)
                raise MeasurementError(f"{size}: latencies differ by more than {TOLERANCE:.0%}: {pairs}; run it again")
            warnings += together.warnings
            reference = together.latency_ms[HARMONIC]
            sizes[size] = {
                name: {
                    "scale": round(scales[index], 4),
                    "latency_ms": together.latency_ms[index],
                    "ratio": together.latency_ms[index] / reference,
                    "spec": specs[index].to_json(),
                }
                for index, name in enumerate(THRESHOLD_NAMES)
            }
    except MeasurementError as error:
        sys.stderr.write(f"widths: {error}\n")
        return 1
    document = {"sizes": sizes, "warnings": warnings, "commit": commit(), "conditions": environment()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
