"""Compare all systems that this project covers under one protocol: `python -m benchmarks.comparison`.

The benchmark can be resumed. It stores each result as a line of runs/comparison/ledger.jsonl. A rerun computes only the
missing results and resumes an interrupted training after its last epoch. The page shows all results so far.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.cells import INPUT_SIZE
from benchmarks.comparison.claims import pairs_claimed
from benchmarks.comparison.figure import figure
from benchmarks.comparison.page import Row, render
from benchmarks.comparison.runs import Images, Ledger, NotTaken, Protocols, measured, paired, trained
from benchmarks.comparison.systems import systems
from benchmarks.report import Document, conditions, options, recorded
from search.data import DataSettings
from search.latency.probes.probe import processor_name, usable_processors
from search.latency.protocol import MeasurementError
from search.training.recipes import FAST
from search.training.train import TrainingFailed
from studies.figures.chrome import NoChrome
from studies.figures.files import write_picture
from studies.figures.front import WIDTH
from threshnet.errors import InputError
from threshnet.published import INPUT_SIZE as PUBLISHED_SIZE

# The same settings as in the built-in study cifar10_cpu.
FULL = Protocols(recipe=replace(FAST, epochs=6), train=10_000, validation=5_000)
QUICK = Protocols(recipe=replace(FAST, epochs=1), train=500, validation=500)
KINDS = {"measure": ("measured", "paired"), "train": ("trained",)}  # the kinds of results that --only accepts
RUNS = Path("runs/comparison")

Outcome = TypeVar("Outcome")
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "numpy")


def attempt(work: Callable[[], Outcome], title: str) -> Outcome | None:
    """Return the result of `work`. If it fails, report the failure on standard error and return None."""
    try:
        return work()
    except (InputError, MeasurementError, NotTaken, TrainingFailed) as failure:
        sys.stderr.write(f"{title}: {failure}\n")
        return None


def publish(document: Document, output: Path | None) -> None:
    """Print the page. If `output` is given, write the page, comparison.json and, with Chrome, figure.png to it."""
    page = render(document)
    sys.stdout.write(page + "\n")
    if output is None:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page + "\n")
    output.with_name("comparison.json").write_text(json.dumps(document, indent=2) + "\n")
    rows = [Row.from_json(row) for row in document["rows"]]
    if not any(row.complete for row in rows):
        return
    try:
        heading = f"{document['conditions']}. {document['caveat']}".strip()
        write_picture(figure(rows, heading), WIDTH, output.with_name("figure.png"))
    except NoChrome as reason:
        sys.stderr.write(f"figure.png not written: {reason}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing measurements and trainings, print and write the page, and return the exit status."""
    goal = "every system is counted, measured and trained, and every claim on latency is measured"
    description = "Costs, latency and test error of all systems under one protocol, as Markdown; resumable."
    parser = options("comparison", description, goal)
    parser.add_argument("networks", nargs="*", type=Path, metavar="F.json", help="further networks to compare")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree [the CIFAR-10 download]")
    parser.add_argument("--caveat", default="", help="note shown above the results")
    parser.add_argument("--threads", type=int, default=1, help="training threads [1]")
    parser.add_argument("--only", choices=KINDS, help="only measure or only train in this run")
    args = parser.parse_args(arguments)
    if args.render:
        publish(recorded(args.render), args.output)
        return 0
    torch.set_num_threads(args.threads)
    protocols = QUICK if args.quick else FULL
    kinds = KINDS[args.only] if args.only else [kind for several in KINDS.values() for kind in several]
    ledger = Ledger(RUNS / "ledger.jsonl", kinds)
    images = Images(
        DataSettings("folder" if args.data else "cifar10", args.data, protocols.train, protocols.validation)
    )
    try:
        by_key = {system.key: system for system in systems(args.networks)}
    except InputError as error:
        parser.error(str(error))
    rows = []
    for system in by_key.values():
        latency = attempt(lambda: measured(ledger, system, protocols.latency), system.title)  # noqa: B023 - called here
        training = attempt(lambda: trained(ledger, system, protocols, images, seed=0), system.title)  # noqa: B023
        published, own = (attempt(partial(system.costs, size), system.title) for size in (PUBLISHED_SIZE, INPUT_SIZE))
        rows.append(Row(system.key, system.kind, system.title, system.origin, published, own, latency, training))
    pairs: dict[str, dict[str, Any]] = {}
    for claim, key in pairs_claimed(list(by_key)):
        ours, other = by_key[claim.network], by_key[key]
        title = f"{other.title} / {ours.title}"
        pair = attempt(lambda: paired(ledger, ours, other, protocols.latency), title)  # noqa: B023 - called here
        pairs |= {key: pair} if pair else {}
    document = {
        "conditions": conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES),
        "caveat": args.caveat,
        "protocols": {
            "recipe": asdict(protocols.recipe),
            "images": {"train": protocols.train, "validation": protocols.validation},
            "latency": protocols.latency.to_json(),
        },
        "rows": [row.to_json() for row in rows],
        "pairs": pairs,
    }
    publish(document, args.output)
    complete = all(row.complete for row in rows) and len(pairs) == len(list(pairs_claimed(list(by_key))))
    return int(args.check and not complete)


if __name__ == "__main__":
    sys.exit(main())
