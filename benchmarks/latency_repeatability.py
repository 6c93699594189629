"""Test the repeatability of latency measurements: `python -m benchmarks.latency_repeatability`.

The benchmark measures twelve networks in four passes: twice on an idle machine, then with six other processes that
compute, then with two that stream through memory. Each pass uses both the default protocol of this project and a naive
protocol, the mean of ten runs in a fresh session. The benchmark takes about two minutes, with or without --quick.
"""

import contextlib
import math
import statistics
import subprocess
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
from search.latency.reading import Latency
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
START_S = 1.0  # seconds until disturbing processes run
IDLE = 2  # number of passes on the idle machine
MIN_TAU, MAX_DIFFERENCE = 0.95, 0.03  # --check: limits for Kendall's tau and the median difference of the idle passes
MAX_FLAGGED = 1  # --check: limit for the flagged readings of both idle passes
METHODS = ("ours", "naive")
PACKAGES = ("onnxruntime", "torch", "numpy")
COMPUTE = "while True: sum(number * number for number in range(10_000))"
STREAM = """
import numpy
source = numpy.zeros(1 << 26, dtype=numpy.uint8)
target = source.copy()
while True:
    numpy.copyto(target, source)
    numpy.copyto(source, target)
"""


@dataclass(frozen=True)
class Disturbance:
    """Processes that run during a pass, and the limits that --check then applies to readings without a flag."""

    title: str
    processes: int
    # The program that each of them runs.
    program: str
    # Limits for the median and the largest difference from the mean of the idle passes.
    median: float
    largest: float
    # Two networks may change their order only if their idle latencies differ by at most this share.
    order: float
    # Minimum number of readings without a flag.
    unflagged: int = 6


DISTURBANCES = (
    Disturbance("6 computing processes", 6, COMPUTE, median=0.03, largest=0.10, order=0.05),
    Disturbance("2 processes that stream through memory", 2, STREAM, median=0.08, largest=0.15, order=0.15),
)
PASSES = ("idle", "idle again", *(f"with {one.title}" for one in DISTURBANCES))


@dataclass(frozen=True)
class Row:
    """Latencies of one network in each of PASSES with each method, in ms."""

    network: str
    macs: int
    ours: tuple[float, ...]
    naive: tuple[float, ...]
    # Whether our reading has a warning.
    flagged: tuple[bool, ...]

    @property
    def idle_ms(self) -> float:
        """The mean of our readings without a flag in the idle passes, of all of them if both have one."""
        idle = list(zip(self.ours[:IDLE], self.flagged[:IDLE], strict=True))
        return statistics.fmean([ms for ms, flag in idle if not flag] or [ms for ms, _ in idle])


@dataclass(frozen=True)
class Agreement:
    """Agreement of a pass with the idle machine."""

    tau: float  # Kendall's tau between the two
    median_difference: float  # difference of the two, relative to their mean
    largest_difference: float


@dataclass(frozen=True)
class Disturbed:
    """The readings without a flag in a disturbed pass, compared with the idle passes."""

    unflagged: int
    median_difference: float
    largest_difference: float
    # Pairs of networks whose order changed though their idle latencies differ by more than the allowed share.
    swapped: tuple[str, ...]

    def allowed(self, limits: Disturbance) -> bool:
        """Return whether --check accepts the pass."""
        close = self.median_difference <= limits.median and self.largest_difference <= limits.largest
        return close and not self.swapped and self.unflagged >= limits.unflagged


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
) -> dict[str, tuple[Latency, float]]:
    """Measure each network with our and the naive protocol, in ms; `recalibrate` re-measures the reference network."""
    latencies = {}
    for name, spec in chosen.items():
        ours = measure_on(Cpu(), spec, size, recalibrate=recalibrate)
        recalibrate = False
        naive = naive_latency(spec, size)
        reading_warnings = "".join(f"; {warning}" for warning in ours.warnings)
        sys.stderr.write(f"{title}: {name} {digits(ours.latency_ms)} ms, naive {digits(naive)} ms{reading_warnings}\n")
        latencies[name] = (ours, naive)
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
def disturbed(by: Disturbance) -> Iterator[None]:
    """Run processes that disturb measurements; they end with the block, or with this process."""
    watched = (
        f"import os, threading\nthreading.Thread(target=lambda: (os.read(0, 1), os._exit(0))).start()\n{by.program}"
    )
    command = [sys.executable, "-c", watched]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(by.processes)]
    try:
        time.sleep(START_S)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Compare two passes over the same networks."""
    a, b = np.asarray(first), np.asarray(second)
    difference = np.abs(a - b) / ((a + b) / 2)
    return Agreement(float(kendalltau(a, b).statistic), float(np.median(difference)), float(difference.max()))


def agreements(rows: Sequence[Row]) -> dict[str, list[Agreement]]:
    """Compare each pass after the first with the idle machine: the first pass of the method."""
    of_method = {method: [getattr(row, method) for row in rows] for method in METHODS}
    return {
        method: [agreement([row[0] for row in values], [row[at] for row in values]) for at in range(1, len(PASSES))]
        for method, values in of_method.items()
    }


def compared(rows: Sequence[Row], at: int) -> Disturbed:
    """Compare the readings without a flag in pass number `at`, a disturbed one, with the idle passes."""
    kept = [row for row in rows if not row.flagged[at]]
    differences = [abs(row.ours[at] / row.idle_ms - 1) for row in kept]
    order = DISTURBANCES[at - IDLE].order
    swapped = tuple(
        f"{fast.network} and {slow.network}"
        for fast in kept
        for slow in kept
        if slow.idle_ms > (1 + order) * fast.idle_ms and slow.ours[at] < fast.ours[at]
    )
    if not kept:
        return Disturbed(0, math.inf, math.inf, ())
    return Disturbed(len(kept), float(np.median(differences)), max(differences), swapped)


def close_pairs(rows: Sequence[Row]) -> dict[str, float]:
    """Divide the latency of each sibling by that of its network, both averaged over our idle passes."""
    mean = {row.network: row.idle_ms for row in rows}
    return {f"{name}/{name[0]}": mean[name] / mean[name[0]] for name in mean if name.endswith("'")}


def spread(rows: Sequence[Row]) -> float:
    """Divide the latency of the slowest network by that of the fastest."""
    means = [row.idle_ms for row in rows]
    return max(means) / min(means)


def discriminating(rows: Sequence[Row]) -> bool:
    """True if the range of latencies is wide enough and four pairs are close enough for a meaningful test."""
    close = [abs(ratio - 1) <= CLOSE for ratio in close_pairs(rows).values()]
    return spread(rows) >= MIN_SPREAD and sum(close) >= SIBLINGS


def reached(rows: Sequence[Row]) -> bool:
    """True if the networks make a meaningful test and our passes agree within the limits of --check."""
    both = agreements(rows)
    ours, naive = both["ours"][0], both["naive"][0]
    tau = ours.tau >= max(MIN_TAU, naive.tau)
    difference = ours.median_difference <= min(MAX_DIFFERENCE, naive.median_difference - 1e-9)
    calm = sum(sum(row.flagged[:IDLE]) for row in rows) <= MAX_FLAGGED
    held = all(compared(rows, at).allowed(limits) for at, limits in enumerate(DISTURBANCES, start=IDLE))
    return discriminating(rows) and tau and difference and calm and held


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    keys = ("network", "macs", "ours", "naive", "flagged")
    rows = [Row(**{key: one[key] for key in keys}) for one in document["networks"]]
    return markdown(rows, document["conditions"])


def markdown(rows: Sequence[Row], facts: str) -> str:
    """Return the tables of latencies and agreement, a description of the networks, and the conditions."""
    cells = [
        [
            row.network,
            f"{row.macs / 1e6:.1f}",
            *(f"{digits(ms)}{' !' if flag else ''}" for ms, flag in zip(row.ours, row.flagged, strict=True)),
            *map(digits, row.naive),
        ]
        for row in rows
    ]
    titles = {"ours": "ours: rounds with a reference network", "naive": f"naive: mean of {NAIVE_RUNS} runs"}
    summary = [
        [titles[method], title, f"{one.tau:.3f}", f"{one.median_difference:.1%}", f"{one.largest_difference:.1%}"]
        for method, passes in agreements(rows).items()
        for title, one in zip(PASSES[1:], passes, strict=True)
    ]
    without_flag = [
        [
            PASSES[at],
            f"{one.unflagged} of {len(rows)}",
            f"{one.median_difference:.1%}",
            f"{one.largest_difference:.1%}",
            ", ".join(one.swapped) or "none",
        ]
        for at, one in ((at, compared(rows, at)) for at in range(IDLE, len(PASSES)))
    ]
    pairs = ", ".join(f"{pair} {ratio:.3f}" for pair, ratio in close_pairs(rows).items())
    header = [f"{method} {number}, ms" for method in METHODS for number in range(1, len(PASSES) + 1)]
    return "\n".join(
        [
            table(["Network", "M MACs", *header], cells),
            "",
            table(
                ["Agreement with pass 1", "pass", "Kendall's tau", "median difference", "largest difference"], summary
            ),
            "",
            table(
                ["Our readings without a flag", "number", "median difference", "largest", "order changed"], without_flag
            ),
            "",
            f"{len(rows)} networks from the space of {STUDY}, seed {SEED}; the slowest takes {spread(rows):.1f} times "
            f"as long as the fastest; close pairs: {pairs}. The passes: {'; '.join(PASSES)}. A reading with a ! has a "
            "warning. The last table compares with the mean of the idle readings without a !; it lists networks that "
            "changed their order and differ by more than "
            f"{' or '.join(f'{one.order:.0%}' for one in DISTURBANCES)} on the idle machine. fp32, batch 1, "
            f"one thread. Conditions: {facts}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both passes, print and write the page, and return the exit status."""
    goal = (
        f"the idle passes agree (our tau is at least {MIN_TAU} and not below the naive one, our median difference is "
        f"at most {MAX_DIFFERENCE:.0%} and below the naive one, at most {MAX_FLAGGED} of our readings is flagged) and "
        "our readings without a flag hold in the other passes"
    )
    parser = options("latency_repeatability", "Four latency passes over twelve networks, as Markdown.", goal)
    args = parser.parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = find_spec(STUDY)
    chosen = networks(study)
    size = study.input_size
    passes = [one_pass(chosen, size, title, recalibrate=title == "idle") for title in PASSES[:IDLE]]
    for title, by in zip(PASSES[IDLE:], DISTURBANCES, strict=True):
        with disturbed(by):
            passes.append(one_pass(chosen, size, title))
    last = passes[-1][next(reversed(chosen))][0]
    scale = last.reference_ms  # a study, too, shows all readings under the latest idle baseline
    rows = [
        Row(
            network=name,
            macs=count(spec, size).macs,
            ours=tuple(taken[name][0].ratio[0] * scale for taken in passes),
            naive=tuple(taken[name][1] for taken in passes),
            flagged=tuple(bool(taken[name][0].warnings) for taken in passes),
        )
        for name, spec in chosen.items()
    ]
    facts = (
        f"{processor_name()} ({usable_processors()} processors)",
        f"probe at priority {last.priority}",
        f"idle baseline {last.used_baseline.text}",
    )
    document = {
        "conditions": conditions(*facts, packages=PACKAGES),
        "protocol": DEFAULT_PROTOCOL.to_json(),
        "networks": [asdict(row) | {"spec": chosen[row.network].to_json()} for row in rows],
        "passes": PASSES,
        "outcomes": {method: list(map(asdict, passes)) for method, passes in agreements(rows).items()},
        "disturbed": [asdict(compared(rows, at)) for at in range(IDLE, len(PASSES))],
        "close_pairs": close_pairs(rows),
    }
    publish(render, document, args.output)
    return int(args.check and not reached(rows))


if __name__ == "__main__":
    sys.exit(main())
