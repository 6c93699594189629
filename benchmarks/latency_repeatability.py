"""Does a latency come back when it is measured again? `python -m benchmarks.latency_repeatability`.

Twelve networks are measured in two passes, the second while another process keeps a core busy: by this project's
protocol as every command uses it, and by the naive one (a fresh session, the mean of ten runs). It takes about four
minutes, with or without --quick.
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

from benchmarks.report import conditions, digits, options, publish, table
from search.latency.measure import measure_on
from search.latency.onnx_files import onnx_files
from search.latency.probes.probe import load_onnxruntime, processor_name, usable_processors
from search.latency.protocol import DEFAULT_PROTOCOL
from space import contains, suggest
from studies.spec import StudySpec, find_spec
from threshnet.costs import count
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec

STUDY = "cifar10_cpu"  # whose space, limits and input size the networks are drawn from
SEED = 2
DRAWN, SIBLINGS = 8, 4  # networks drawn from the space, and how many of them get a sibling a few percent costlier
SPREAD = 4.0  # the slowest takes at least this many times as long as the quickest
CLOSE = 0.05  # a network and its sibling lie within this share of each other
NAIVE_RUNS = 10
TAU, DIFFERENCE = 0.95, 0.03  # --check: least tau, largest median difference of our protocol
METHODS = ("ours", "naive")
PACKAGES = ("onnxruntime", "torch", "numpy")


@dataclass(frozen=True)
class Row:
    """One network's latency, ms, in both passes, by both methods."""

    network: str
    macs: int
    ours: tuple[float, float]
    naive: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """How well the two passes of one method agree."""

    tau: float  # Kendall's, between the passes
    median_difference: float  # of the passes, relative to their mean, a share
    largest_difference: float


def networks(study: StudySpec) -> dict[str, NetworkSpec]:
    """Twelve networks of the study's space within its limits, by name: A to H drawn at random, A', C', E', G' siblings.

    So that latencies are spread, each of the eight is the first draw whose MACs lie in its own part of the last decade
    below the limit; so that some are close, a sibling has one block's growth changed for about 3 % more MACs.
    """
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    bands = np.geomspace((study.limits.macs or 0.0) / 10, study.limits.macs or 0.0, DRAWN + 1)
    found: dict[str, NetworkSpec] = {}
    for number, name in enumerate("ABCDEFGH"):
        wants_sibling = number % 2 == 0
        while name not in found:
            spec = suggest(study.space, drawing.ask())
            if smallest_input(spec) > study.input_size:
                continue
            costs = count(spec, study.input_size)
            over = any(excess > 0 for excess in study.limits.of_costs(costs).values())
            if over or not bands[number] <= costs.macs <= bands[number + 1]:
                continue
            sibling = _sibling(spec, study) if wants_sibling else None
            if wants_sibling and sibling is None:
                continue
            found[name] = spec
            if sibling:
                found[f"{name}'"] = sibling
    return found


def _sibling(spec: NetworkSpec, study: StudySpec) -> NetworkSpec | None:
    """The network of the space with another growth in one block that costs nearest to 3 % more MACs, of 2 to 4 %."""
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
    chosen: dict[str, NetworkSpec], size: int, title: str, *, anew: bool = False
) -> dict[str, tuple[float, float]]:
    """(ours, naive) latency, ms, of each network, told on standard error; `anew` calibrates the reference first."""
    taken = {}
    for name, spec in chosen.items():
        ours = measure_on("cpu", spec, size, anew=anew)
        anew = False
        naive = naive_latency(spec, size)
        reading_warnings = "".join(f"; {warning}" for warning in ours.warnings)
        sys.stderr.write(f"{title}: {name} {digits(ours.latency_ms)} ms, naive {digits(naive)} ms{reading_warnings}\n")
        taken[name] = (ours.latency_ms, naive)
    return taken


def naive_latency(spec: NetworkSpec, size: int) -> float:
    """The mean of ten runs of a fresh session, ms, by the same runtime with the same settings."""
    settings = {"threads": DEFAULT_PROTOCOL.threads, "batch": DEFAULT_PROTOCOL.batch, "input_size": size}
    with onnx_files([spec], size, DEFAULT_PROTOCOL.batch) as (path,):
        (timer,) = load_onnxruntime([str(path)], settings).timers
        began = time.perf_counter()
        for _ in range(NAIVE_RUNS):
            timer()
        return (time.perf_counter() - began) * 1e3 / NAIVE_RUNS


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process that keeps a core busy."""
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


def outcome(first: Sequence[float], second: Sequence[float]) -> Outcome:
    """How well two passes over the same networks agree."""
    a, b = np.asarray(first), np.asarray(second)
    difference = np.abs(a - b) / ((a + b) / 2)
    return Outcome(float(kendalltau(a, b).statistic), float(np.median(difference)), float(difference.max()))


def outcomes(rows: Sequence[Row]) -> dict[str, Outcome]:
    """How well the passes of each method agree."""
    return {method: outcome(*zip(*(getattr(row, method) for row in rows), strict=True)) for method in METHODS}


def close_pairs(rows: Sequence[Row]) -> dict[str, float]:
    """Each sibling's latency over that of its network, the mean of our passes."""
    mean = {row.network: sum(row.ours) / 2 for row in rows}
    return {f"{name}/{name[0]}": mean[name] / mean[name[0]] for name in mean if name.endswith("'")}


def spread(rows: Sequence[Row]) -> float:
    """The slowest network's latency over the quickest's."""
    means = [sum(row.ours) / 2 for row in rows]
    return max(means) / min(means)


def as_asked(rows: Sequence[Row]) -> bool:
    """Whether the networks are spread enough, and four pairs of them close enough, to make agreement hard."""
    close = [abs(ratio - 1) <= CLOSE for ratio in close_pairs(rows).values()]
    return spread(rows) >= SPREAD and sum(close) >= SIBLINGS


def reached(rows: Sequence[Row]) -> bool:
    """Whether our passes agree as well as --check asks for, on networks as asked for."""
    found = outcomes(rows)
    ours, naive = found["ours"], found["naive"]
    tau = ours.tau >= max(TAU, naive.tau)
    return as_asked(rows) and tau and ours.median_difference <= min(DIFFERENCE, naive.median_difference - 1e-9)


def markdown(rows: Sequence[Row], facts: str) -> str:
    """Both tables, the conditions and what the networks are."""
    cells = [[row.network, f"{row.macs / 1e6:.1f}", *(digits(ms) for ms in (*row.ours, *row.naive))] for row in rows]
    titles = {"ours": "rounds against the reference network", "naive": f"naive: mean of {NAIVE_RUNS} runs"}
    summary = [
        [titles[method], f"{one.tau:.3f}", f"{one.median_difference:.1%}", f"{one.largest_difference:.1%}"]
        for method, one in outcomes(rows).items()
    ]
    pairs = ", ".join(f"{pair} {ratio:.3f}" for pair, ratio in close_pairs(rows).items())
    return "\n".join(
        [
            table(["Network", "M MACs", "ours 1, ms", "ours 2, ms", "naive 1, ms", "naive 2, ms"], cells),
            "",
            table(["Two passes", "Kendall's tau", "median difference", "largest difference"], summary),
            "",
            f"{len(rows)} networks of the space of {STUDY}, seed {SEED}, latencies {spread(rows):.1f}x apart; close "
            f"pairs: {pairs}. Second pass beside a process that keeps a core busy. fp32, batch 1, one thread; {facts}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; the exit status."""
    goal = f"our tau is at least {TAU} and naive's, our median difference at most {DIFFERENCE:.0%} and below naive's"
    given = options("latency_repeatability", "Two passes over twelve networks, as Markdown.", goal).parse_args(
        arguments
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = find_spec(STUDY)
    chosen = networks(study)
    first = one_pass(chosen, study.input_size, "first pass", anew=True)
    with busy_core():
        second = one_pass(chosen, study.input_size, "second pass, beside a busy process")
    rows = [
        Row(name, count(spec, study.input_size).macs, *zip(first[name], second[name], strict=True))
        for name, spec in chosen.items()
    ]
    facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
    page = markdown(rows, facts)
    document = {
        "conditions": facts,
        "protocol": DEFAULT_PROTOCOL.to_json(),
        "networks": [asdict(row) | {"spec": chosen[row.network].to_json()} for row in rows],
        "outcomes": {method: asdict(one) for method, one in outcomes(rows).items()},
        "close_pairs": close_pairs(rows),
    }
    publish(page, document, given.output)
    return int(given.check and not reached(rows))


if __name__ == "__main__":
    sys.exit(main())
