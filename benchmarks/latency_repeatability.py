"""Test the repeatability of latency measurements: `python -m benchmarks.latency_repeatability`.

The benchmark measures twelve networks twice. During the second pass, another process keeps one core busy. Each pass
uses both the default protocol of this project and a naive protocol, the mean of ten runs in a fresh session. The
benchmark takes about four minutes, with or without --quick.
"""

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import optuna
from scipy.stats import kendalltau

from benchmarks.report import Document, conditions, digits, options, publish, recorded, table
from search.latency.devices.cpu import Cpu
from search.latency.measure import measure_on
from search.latency.onnx_files import onnx_files
from search.latency.probes.probe import load_onnxruntime, processor_name, usable_processors
from search.latency.protocol import DEFAULT_PROTOCOL
from space import contains, suggest
from studies.spec import StudySpec, find_spec
from threshnet.costs import count
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec

STUDY = "cifar10_cpu"  # the study that defines the space, the limits and the input size
SEED = 2
RANDOM_NETWORKS, SIBLINGS = 8, 4  # number of random networks, and number of slightly more expensive siblings
MIN_SPREAD = 4.0  # minimum ratio of the slowest latency to the fastest
CLOSE = 0.05  # maximum relative difference in latency between a network and its sibling
NAIVE_RUNS = 10
MIN_TAU, MAX_DIFFERENCE = 0.95, 0.03  # --check: limits for Kendall's tau and the median difference of our protocol
METHODS = ("ours", "naive")
PACKAGES = ("onnxruntime", "torch", "numpy")


@dataclass(frozen=True)
class Row:
    """Latencies of one network in both passes with each method, in ms."""

    network: str
    macs: int
    ours: tuple[float, float]
    naive: tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """Agreement between the two passes of one method."""

    tau: float  # Kendall's tau between the passes
    median_difference: float  # difference of the passes, relative to their mean
    largest_difference: float


def networks(study: StudySpec) -> dict[str, NetworkSpec]:
    """Choose twelve networks from the study's space that satisfy its limits: A to H and the siblings A', C', E' and G'.

    A to H cover a wide range of latencies. The decade of MACs below the limit is split into eight bands, and the first
    suitable random network is chosen from each band. A sibling is close to its network: it differs only in the growth
    of one block and has about 3 % more MACs.
    """
    sampling = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    bands = np.geomspace((study.limits.macs or 0.0) / 10, study.limits.macs or 0.0, RANDOM_NETWORKS + 1)
    chosen: dict[str, NetworkSpec] = {}
    for number, name in enumerate("ABCDEFGH"):
        needs_sibling = number % 2 == 0
        while name not in chosen:
            spec = suggest(study.space, sampling.ask())
            if smallest_input(spec) > study.input_size:
                continue
            costs = count(spec, study.input_size)
            infeasible = any(excess > 0 for excess in study.limits.of_costs(costs).values())
            if infeasible or not bands[number] <= costs.macs <= bands[number + 1]:
                continue
            sibling = _sibling(spec, study) if needs_sibling else None
            if needs_sibling and sibling is None:
                continue
            chosen[name] = spec
            if sibling:
                chosen[f"{name}'"] = sibling
    return chosen


def _sibling(spec: NetworkSpec, study: StudySpec) -> NetworkSpec | None:
    """Change the growth of one block to get 2 to 4 % more MACs, ideally 3 %. Returns None if no change does that."""
    macs = count(spec, study.input_size).macs
    choices = []
    for number, block in enumerate(spec.blocks):
        for growth in study.space.growths:
            blocks = (*spec.blocks[:number], replace(block, growth=growth), *spec.blocks[number + 1 :])
            other = replace(spec, blocks=blocks)
            more = count(other, study.input_size).macs / macs - 1
            if 0.02 <= more <= 0.04 and contains(study.space, other):
                choices.append((abs(more - 0.03), number, other))
    return min(choices, key=lambda choice: choice[:2])[2] if choices else None


def one_pass(
    chosen: dict[str, NetworkSpec], size: int, title: str, *, recalibrate: bool = False
) -> dict[str, tuple[float, float]]:
    """Measure each network in ms with (our, the naive) protocol. `recalibrate` re-measures the reference network."""
    latencies = {}
    for name, spec in chosen.items():
        ours = measure_on(Cpu(), spec, size, recalibrate=recalibrate)
        recalibrate = False
        naive = naive_latency(spec, size)
        reading_warnings = "".join(f"; {warning}" for warning in ours.warnings)
        sys.stderr.write(f"{title}: {name} {digits(ours.latency_ms)} ms, naive {digits(naive)} ms{reading_warnings}\n")
        latencies[name] = (ours.latency_ms, naive)
    return latencies


def naive_latency(spec: NetworkSpec, size: int) -> float:
    """Return the mean latency of ten runs in a fresh session, in ms, with the same runtime and settings."""
    settings = {"threads": DEFAULT_PROTOCOL.threads, "batch": DEFAULT_PROTOCOL.batch, "input_size": size}
    with onnx_files([spec], size, DEFAULT_PROTOCOL.batch) as (path,):
        (timer,) = load_onnxruntime([str(path)], settings).timers
        start = time.perf_counter()
        for _ in range(NAIVE_RUNS):
            timer()
        return (time.perf_counter() - start) * 1e3 / NAIVE_RUNS


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Start another process that keeps one core busy."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _spin() -> None:
    parent = multiprocessing.parent_process()
    while parent and parent.is_alive():
        sum(number * number for number in range(10_000))


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Compare two passes over the same networks."""
    a, b = np.asarray(first), np.asarray(second)
    difference = np.abs(a - b) / ((a + b) / 2)
    return Agreement(float(kendalltau(a, b).statistic), float(np.median(difference)), float(difference.max()))


def agreements(rows: Sequence[Row]) -> dict[str, Agreement]:
    """Compare the two passes for each method."""
    return {method: agreement(*zip(*(getattr(row, method) for row in rows), strict=True)) for method in METHODS}


def close_pairs(rows: Sequence[Row]) -> dict[str, float]:
    """Divide the latency of each sibling by that of its network, both averaged over our two passes."""
    mean = {row.network: sum(row.ours) / 2 for row in rows}
    return {f"{name}/{name[0]}": mean[name] / mean[name[0]] for name in mean if name.endswith("'")}


def spread(rows: Sequence[Row]) -> float:
    """Divide the latency of the slowest network by that of the fastest."""
    means = [sum(row.ours) / 2 for row in rows]
    return max(means) / min(means)


def discriminating(rows: Sequence[Row]) -> bool:
    """True if the range of latencies is wide enough and four pairs are close enough for a meaningful test."""
    close = [abs(ratio - 1) <= CLOSE for ratio in close_pairs(rows).values()]
    return spread(rows) >= MIN_SPREAD and sum(close) >= SIBLINGS


def reached(rows: Sequence[Row]) -> bool:
    """True if the networks make a meaningful test and our passes agree within the limits of --check."""
    both = agreements(rows)
    ours, naive = both["ours"], both["naive"]
    tau = ours.tau >= max(MIN_TAU, naive.tau)
    difference = ours.median_difference <= min(MAX_DIFFERENCE, naive.median_difference - 1e-9)
    return discriminating(rows) and tau and difference


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    rows = [Row(one["network"], one["macs"], one["ours"], one["naive"]) for one in document["networks"]]
    return markdown(rows, document["conditions"])


def markdown(rows: Sequence[Row], facts: str) -> str:
    """Return the tables of latencies and agreement, a description of the networks, and the conditions."""
    cells = [[row.network, f"{row.macs / 1e6:.1f}", *(digits(ms) for ms in (*row.ours, *row.naive))] for row in rows]
    titles = {"ours": "ours: rounds with a reference network", "naive": f"naive: mean of {NAIVE_RUNS} runs"}
    summary = [
        [titles[method], f"{one.tau:.3f}", f"{one.median_difference:.1%}", f"{one.largest_difference:.1%}"]
        for method, one in agreements(rows).items()
    ]
    pairs = ", ".join(f"{pair} {ratio:.3f}" for pair, ratio in close_pairs(rows).items())
    return "\n".join(
        [
            table(["Network", "M MACs", "ours 1, ms", "ours 2, ms", "naive 1, ms", "naive 2, ms"], cells),
            "",
            table(["Agreement of two passes", "Kendall's tau", "median difference", "largest difference"], summary),
            "",
            f"{len(rows)} networks from the space of {STUDY}, seed {SEED}; the slowest takes {spread(rows):.1f} times "
            f"as long as the fastest; close pairs: {pairs}. During the second pass, another process kept one core "
            f"busy. fp32, batch 1, one thread. Conditions: {facts}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both passes, print and write the page, and return the exit status."""
    goal = (
        f"our tau is at least {MIN_TAU} and not below the naive one, and our median difference is at most "
        f"{MAX_DIFFERENCE:.0%} and below the naive one"
    )
    parser = options("latency_repeatability", "Two latency passes over twelve networks, as Markdown.", goal)
    args = parser.parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = find_spec(STUDY)
    chosen = networks(study)
    first = one_pass(chosen, study.input_size, "first pass", recalibrate=True)
    with busy_core():
        second = one_pass(chosen, study.input_size, "second pass, with a busy core")
    rows = [
        Row(name, count(spec, study.input_size).macs, *zip(first[name], second[name], strict=True))
        for name, spec in chosen.items()
    ]
    document = {
        "conditions": conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES),
        "protocol": DEFAULT_PROTOCOL.to_json(),
        "networks": [asdict(row) | {"spec": chosen[row.network].to_json()} for row in rows],
        "outcomes": {method: asdict(one) for method, one in agreements(rows).items()},
        "close_pairs": close_pairs(rows),
    }
    publish(render, document, args.output)
    return int(args.check and not reached(rows))


if __name__ == "__main__":
    sys.exit(main())
