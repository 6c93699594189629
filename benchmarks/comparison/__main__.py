"""Every system that this project answers for, counted, measured and trained alike: `python -m benchmarks.comparison`.

Resumable: outcomes are lines of runs/comparison/ledger.jsonl, and a rerun goes on after them, within a training after
its last epoch. The page is written from what there is.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.cells import INPUT_SIZE
from benchmarks.comparison.claims import pairs_claimed
from benchmarks.comparison.figure import figure
from benchmarks.comparison.page import Row, markdown
from benchmarks.comparison.runs import Images, Ledger, NotTaken, Protocols, measured, paired, trained
from benchmarks.comparison.systems import systems
from benchmarks.report import conditions, options
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

# The training of the built-in study cifar10_cpu.
FULL = Protocols(recipe=replace(FAST, epochs=6), train=10_000, validation=5_000)
QUICK = Protocols(recipe=replace(FAST, epochs=1), train=500, validation=500)
KINDS = {"measure": ("measured", "paired"), "train": ("trained",)}
RUNS = Path("runs/comparison")

Taken = TypeVar("Taken")
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "numpy")


def take(work: Callable[[], Taken], title: str) -> Taken | None:
    """What the work gives; None where it fails, which is told."""
    try:
        return work()
    except (InputError, MeasurementError, NotTaken, TrainingFailed) as failure:
        sys.stderr.write(f"{title}: {failure}\n")
        return None


def publish(output: Path, page: str, document: Mapping[str, Any], rows: Sequence[Row], heading: str) -> None:
    """Write the page, beside it comparison.json and, where a Chrome is, figure.png."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page + "\n")
    output.with_name("comparison.json").write_text(json.dumps(document, indent=2) + "\n")
    if not any(row.filled for row in rows):
        return
    try:
        write_picture(figure(rows, heading), WIDTH, output.with_name("figure.png"))
    except NoChrome as reason:
        sys.stderr.write(f"figure.png not written: {reason}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Take what is not there yet, print and write; the exit status."""
    goal = "every system is costed, measured and trained, and every claim measured"
    parser = options("comparison", "Every system alike: costs, latency and test error, as Markdown; resumable.", goal)
    parser.add_argument("networks", nargs="*", type=Path, metavar="F.json", help="further networks, set beside them")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree [the CIFAR-10 download]")
    parser.add_argument("--caveat", default="", help="said beside the numbers")
    parser.add_argument("--threads", type=int, default=1, help="of a training [1]")
    parser.add_argument("--only", choices=KINDS, help="take these alone now, and the others another time")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    protocols = QUICK if given.quick else FULL
    kinds = KINDS[given.only] if given.only else [kind for several in KINDS.values() for kind in several]
    ledger = Ledger(RUNS / "ledger.jsonl", kinds)
    images = Images(
        DataSettings("folder" if given.data else "cifar10", given.data, protocols.train, protocols.validation)
    )
    try:
        by_key = {system.key: system for system in systems(given.networks)}
    except InputError as error:
        parser.error(str(error))
    rows = []
    for system in by_key.values():
        latency = take(lambda: measured(ledger, system, protocols.latency), system.title)  # noqa: B023 - called at once
        training = take(lambda: trained(ledger, system, protocols, images, seed=0), system.title)  # noqa: B023
        published, own = (take(partial(system.costs, size), system.title) for size in (PUBLISHED_SIZE, INPUT_SIZE))
        rows.append(Row(system, published, own, latency, training))
    pairs: dict[str, dict[str, Any]] = {}
    for claim, key in pairs_claimed(list(by_key)):
        ours, other = by_key[claim.network], by_key[key]
        pair = take(lambda: paired(ledger, ours, other, protocols.latency), f"{other.title} / {ours.title}")  # noqa: B023
        pairs |= {key: pair} if pair else {}
    facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
    page = markdown(rows, pairs, protocols, facts, given.caveat)
    sys.stdout.write(page + "\n")
    if given.output:
        document = {
            "conditions": facts,
            "caveat": given.caveat,
            "protocols": {"recipe": asdict(protocols.recipe), "latency": protocols.latency.to_json()},
            "rows": [told(row) for row in rows],
            "pairs": pairs,
        }
        publish(given.output, page, document, rows, f"{facts}. {given.caveat}".strip())
    complete = all(row.filled for row in rows) and len(pairs) == len(list(pairs_claimed(list(by_key))))
    return int(given.check and not complete)


def told(row: Row) -> dict[str, Any]:
    """A row as JSON-ready values."""
    return {
        "system": row.system.key,
        "title": row.system.title,
        "origin": row.system.origin,
        "costs": {str(costs.input_size): asdict(costs) for costs in (row.costs, row.costs_published) if costs},
        "latency": row.latency,
        "training": row.training,
    }


if __name__ == "__main__":
    sys.exit(main())
