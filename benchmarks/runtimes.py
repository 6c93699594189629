"""Measure the latency of the ThreshNets with each runtime on this machine's CPU: `python -m benchmarks.runtimes`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmarks.cells import Cell, measure_cell, notes, ratio
from benchmarks.report import Document, conditions, interval, options, publish, recorded, table
from search.latency.devices.cpu import Cpu
from search.latency.probes.probe import processor_name, usable_processors
from search.latency.protocol import DEFAULT_PROTOCOL, Protocol
from threshnet.errors import InputError
from threshnet.named import ABOUT

NETWORKS = ("threshnet28", "threshnet79", "threshnet95")
RUNTIMES = {  # the title of each runtime; eager PyTorch is first
    "torch": "PyTorch, eager",
    "torch-compiled": "PyTorch, torch.compile",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
BATCHES = (1, 32)
LONG = ("torch-compiled", 32)  # --quick skips this runtime because compilation takes one or two minutes
PACKAGES = ("torch", "onnxruntime", "openvino")
GOAL = 3.0  # --check: minimum speedup of ONNX Runtime over eager PyTorch at batch 1 with one thread
FULL = replace(DEFAULT_PROTOCOL, min_s=3.0, max_s=15.0, tolerance=0.01, timeout_s=900.0)
QUICK = replace(DEFAULT_PROTOCOL, min_s=0.5, max_s=3.0, timeout_s=300.0)


def speedups(cells: Sequence[Cell]) -> dict[str, tuple[float, float, float] | None]:
    """Compute each network's speedup of ONNX Runtime over eager PyTorch at batch 1, with its interval (see `ratio`)."""
    of = {(cell.network, cell.runtime): cell for cell in cells if cell.batch == 1}
    return {network: ratio(of[network, "torch"], of[network, "onnxruntime"]) for network in NETWORKS}


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    return markdown([Cell(**cell) for cell in document["cells"]], document["conditions"])


def markdown(cells: Sequence[Cell], facts: str) -> str:
    """Return the tables of latencies and speedups, the conditions and the notes."""
    of = {(cell.runtime, cell.network, cell.batch): cell for cell in cells}
    columns = [(network, batch) for network in NETWORKS for batch in BATCHES]
    header = ["Latency of a batch, ms", *(f"{ABOUT[network].title}, batch {batch}" for network, batch in columns)]
    rows = [
        [title, *(of[key].text() if (key := (runtime, *column)) in of else "skipped" for column in columns)]
        for runtime, title in RUNTIMES.items()
    ]
    ratios = ["PyTorch, eager / ONNX Runtime, batch 1"]
    ratios += [interval(*one) if one else "failed" for one in speedups(cells).values()]
    return "\n".join(
        [
            table(header, rows),
            "",
            table(["Ratio", *(ABOUT[network].title for network in NETWORKS)], [ratios]),
            "",
            f"Medians with 95 % intervals (ratios: at least 90 %), fp32, 10 classes, 32x32 input. Conditions: {facts}.",
            *(["", *lines] if (lines := notes(cells)) else []),
        ]
    )


def reached(cells: Sequence[Cell]) -> bool:
    """True if, for every network, the lower bound of the speedup of ONNX Runtime is at least GOAL."""
    return all(one is not None and one[1] >= GOAL for one in speedups(cells).values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all cells, print and write the page, and return the exit status."""
    goal = f"ONNX Runtime is {GOAL:g} times as fast as eager PyTorch for each network, at batch 1 with one thread"
    parser = options("runtimes", "Latency of the ThreshNets on this CPU with each runtime, as Markdown.", goal)
    parser.add_argument("--threads", type=int, default=1, help="threads of each runtime [1]")
    args = parser.parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    if args.check and args.threads != 1:
        parser.error(f"--check needs --threads 1, not {args.threads}")
    try:
        protocol: Protocol = replace(QUICK if args.quick else FULL, threads=args.threads)
    except InputError as error:
        parser.error(str(error))
    cells = [
        measure_cell(Cpu(), network, runtime, replace(protocol, batch=batch))
        for runtime in RUNTIMES
        for network in NETWORKS
        for batch in BATCHES
        if not (args.quick and (runtime, batch) == LONG)
    ]
    processor = f"{processor_name()} ({usable_processors()} processors, {args.threads} thread(s) used)"
    document = {
        "conditions": conditions(processor, packages=PACKAGES),
        "protocol": protocol.to_json(),
        "cells": [asdict(cell) for cell in cells],
        "eager_over_onnxruntime": speedups(cells),
    }
    publish(render, document, args.output)
    return int(args.check and not reached(cells))


if __name__ == "__main__":
    sys.exit(main())
