"""The search of the demo against random search: `python -m benchmarks.demo_search`.

Both samplers run the built-in study of the demo live, with the same space, images, rungs, limits and budget, once for
each seed. Finished searches are appended to a JSON Lines file, and a rerun of the command adds the missing ones. The
budget is counted in training images, so a busy machine delays the searches but does not shorten them. One search takes
about three minutes on two idle cores.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.report import Document, conditions, options, publish, recorded, table
from search.latency.probes.probe import processor_name, usable_processors
from studies.figures.chrome import NoChrome, draw
from studies.figures.front import AXIS_STYLE, layout
from studies.figures.panel import DOT, SOFT
from studies.fronts.front import front_of
from studies.json_lines import append, read_lines
from studies.spec import StudySpec, find_spec
from studies.study import full_training, launch_study, progress_of

STUDY = "digits"
OURS, RANDOM = "freeze_thaw", "random"
TITLES = {OURS: "freeze-thaw", RANDOM: "random search with the same rungs"}
COLOURS = {OURS: "#0072B2", RANDOM: "#7A7A7A"}
SEEDS, QUICK_SEEDS = 10, 1
QUICK_BUDGET = 2.0  # full trainings
FILE = Path(__file__).parent / "results" / "demo_search.jsonl"
PACKAGES = ("torch", "onnxruntime", "optuna")
GRID_POINTS = 200  # costs at which the curves are averaged
WIDTH, HEIGHT, TOP, SCALE = 900, 520, 96, 2  # pixels, and PNG pixels per figure pixel


@dataclass(frozen=True)
class Search:
    """One search of one sampler."""

    sampler: str
    seed: int
    # In full trainings.
    budget: float
    # (cost in full trainings, hypervolume in percent of the box) after each training.
    curve: tuple[tuple[float, float], ...]
    # Number of networks that were measured, and of those that were scored at a rung or at the end.
    measured: int
    scored: int
    # Number of networks on the front.
    front: int
    seconds: float
    # Scale of the latency in the box; linear in files of earlier versions.
    axis: str = "linear"

    @property
    def final(self) -> float:
        """Hypervolume at the end, in percent."""
        return self.curve[-1][1]

    def at(self, costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the hypervolume (n,) that the search had reached at each of the costs (n,)."""
        paid = np.array([cost for cost, _ in self.curve])
        volumes = np.array([0.0, *(volume for _, volume in self.curve)])
        return np.asarray(volumes[np.searchsorted(paid, costs, side="right")])


def spec_of(sampler: str, seed: int, budget: float | None = None) -> StudySpec:
    """Return the study of the demo without named networks, with another sampler and seed."""
    demo = find_spec(STUDY)
    return replace(
        demo,
        name=f"{sampler}-{seed}",
        sampler=sampler,
        seed=seed,
        rungs=demo.rungs_in_use,
        named=(),
        budget=budget or demo.budget,
    )


def search(sampler: str, seed: int, budget: float | None) -> Search:
    """Run one search in a temporary folder."""
    spec, start = spec_of(sampler, seed, budget), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        loaded, _ = launch_study(spec, f"journal:{Path(folder) / 'study.log'}", runs=Path(folder) / "runs")
        price, progress = full_training(loaded), progress_of(loaded)
        measured = {record.fingerprint for record in loaded.records if record.latency}
        return Search(
            sampler=sampler,
            seed=seed,
            budget=spec.budget or 0.0,
            curve=tuple((step.image_passes / price, step.share_percent) for step in progress.curve),
            measured=len(measured),
            scored=len({record.fingerprint for record in loaded.records if record.rungs}),
            front=len(front_of(loaded).front),
            seconds=round(time.monotonic() - start, 1),
            axis=progress.box.axis,
        )


def searches_in(lines: Sequence[dict[str, Any]]) -> list[Search]:
    """Restore the searches of a file, one for each sampler and seed."""
    found = [Search(**line | {"curve": tuple(map(tuple, line["curve"]))}) for line in lines]
    return sorted({(one.sampler, one.seed): one for one in found}.values(), key=lambda one: (one.seed, one.sampler))


def current(searches: Sequence[Search]) -> list[Search]:
    """Return the searches whose box has the axis of the study."""
    return [one for one in searches if one.axis == find_spec(STUDY).box]


def add_missing(file: Path, seeds: int, budget: float | None) -> None:
    """Run the searches that the file lacks, both samplers for each seed, and report each on standard error."""
    done = {(one.sampler, one.seed) for one in current(searches_in(read_lines(file)))}
    for seed in range(seeds):
        for sampler in TITLES:
            if (sampler, seed) in done:
                continue
            found = search(sampler, seed, budget)
            append(file, asdict(found))
            sys.stderr.write(
                f"{sampler}, seed {seed}: {found.final:.2f} %, {found.scored} networks scored, {found.front} on the "
                f"front, {found.seconds:.0f} s\n"
            )


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of n values and the half-width of its 95 % interval (Student's t)."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return float(values.mean()), float(student.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5


def paired(searches: Sequence[Search]) -> dict[str, list[Search]]:
    """Return the searches of each sampler, in the order of the seeds that both samplers have."""
    by_key = {(one.sampler, one.seed): one for one in searches}
    seeds = sorted({one.seed for one in searches if all((name, one.seed) in by_key for name in TITLES)})
    return {name: [by_key[name, seed] for seed in seeds] for name in TITLES}


def difference(searches: Sequence[Search]) -> tuple[float, float]:
    """Return the mean difference of the final hypervolumes and the half-width of its paired 95 % interval."""
    both = paired(searches)
    return interval(np.array([ours.final - other.final for ours, other in zip(*both.values(), strict=True)]))


def render(document: Document) -> str:
    """Render the page."""
    searches = searches_in(document["searches"])
    both = paired(searches)
    seeds, budget = len(both[OURS]), both[OURS][0].budget
    rows = []
    for name, own in both.items():
        mean, half = interval(np.array([one.final for one in own]))
        counts = [np.mean([getattr(one, key) for one in own]) for key in ("measured", "scored", "front")]
        rows.append([TITLES[name], f"{mean:.1f} ± {half:.1f}", *(f"{count:.0f}" for count in counts)])
    lower = find_spec(STUDY).min_latency_ms
    edges = f"{lower:g} ms (log axis)" if both[OURS][0].axis == "log" else "0 ms (linear axis)"
    mean, half = difference(searches)
    header = ["Sampler", "hypervolume, %", "networks measured", "scored at a rung", "on the front"]
    return "\n\n".join(
        [
            table(header, rows),
            f"Difference of the hypervolumes, paired by seed: {mean:.1f} ± {half:.1f} percentage points.",
            f"The study `{STUDY}` was run live, without named networks, with a budget of {budget:g} full trainings. "
            f"Means of n = {seeds} seeds; ± is the half-width of the 95 % interval of the mean. A hypervolume is in "
            f"percent of the box: {edges} to the latency limit, up to the error of naming the most frequent class.",
            f"Conditions: {document['conditions']}.",
        ]
    )


def figure(searches: Sequence[Search]) -> go.Figure:
    """Plot the mean hypervolume of both samplers over the cost, with the 95 % interval of each mean."""
    both = paired(searches)
    budget = both[OURS][0].budget
    costs = np.linspace(0.0, budget, GRID_POINTS)
    chart = go.Figure()
    for name, own in both.items():
        volumes = np.array([one.at(costs) for one in own])
        means, margins = np.array([interval(column) for column in volumes.T]).T
        band = [*(means + margins), *(means - margins)[::-1]]
        fill = {"fill": "toself", "fillcolor": COLOURS[name], "opacity": 0.18, "line": {"width": 0}}
        chart.add_scatter(x=[*costs, *costs[::-1]], y=band, mode="lines", showlegend=False, **fill)
        chart.add_scatter(
            x=costs, y=means, mode="lines", name=TITLES[name], line={"color": COLOURS[name], "width": 2.5}
        )
    about = f"Study {STUDY}, live. Mean of {len(both[OURS])} seeds and 95 % interval of the mean."
    chart.update_layout(
        layout("The search of the demo", about, TOP),
        width=WIDTH,
        height=HEIGHT,
        legend={"x": 0.98, "y": 0.04, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(0, 0, 0, 0)"},
        xaxis=axis("cost, full trainings") | {"range": [0, budget]},
        yaxis=axis("hypervolume, %") | {"rangemode": "tozero"},
    )
    return chart


def axis(title: str) -> dict[str, object]:
    """Return the style that both axes share."""
    return AXIS_STYLE | {
        "title": {"text": title, "font": {"size": 14, "color": SOFT}, "standoff": 10},
        "showline": True,
        "ticks": "outside",
        "tickcolor": DOT,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing searches, print and write the page, and return the exit status."""
    goal = f"the mean hypervolume of {OURS} exceeds that of {RANDOM} by more than the interval of the paired difference"
    parser = options("demo_search", "The search of the demo against random search, as Markdown.", goal)
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="seeds of each sampler [%(default)s]")
    parser.add_argument("--file", type=Path, default=FILE, help="JSON Lines file of the searches [the repository's]")
    args = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if args.render:
        document = recorded(args.render)
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "quick.jsonl" if args.quick else args.file
            add_missing(file, QUICK_SEEDS if args.quick else args.seeds, QUICK_BUDGET if args.quick else None)
            searches = [asdict(one) for one in current(searches_in(read_lines(file)))]
        facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
        document = {"conditions": facts, "searches": searches}
    publish(render, document, args.output)
    searches_read = searches_in(document["searches"])
    if args.output:
        try:
            args.output.with_suffix(".png").write_bytes(draw(figure(searches_read), WIDTH, HEIGHT, SCALE))
        except NoChrome as error:
            sys.stderr.write(f"{args.output.with_suffix('.png').name} not written: {error}\n")
    mean, half = difference(searches_read)
    return int(args.check and not mean > half)


if __name__ == "__main__":
    sys.exit(main())
