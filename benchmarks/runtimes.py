"""How long the ThreshNets take on this machine's CPU, runtime by runtime: `python -m benchmarks.runtimes`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmarks.cells import Cell, measured, ratio, remarks
from benchmarks.report import conditions, interval, options, publish, table
from search.latency.probes.probe import processor_name, usable_processors
from search.latency.protocol import DEFAULT_PROTOCOL, Protocol
from threshnet.errors import InputError
from threshnet.named import ABOUT

NETWORKS = ("threshnet28", "threshnet79", "threshnet95")
RUNTIMES = {  # title of each, eager first
    "torch": "PyTorch, eager",
    "torch-compiled": "PyTorch, torch.compile",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
BATCHES = (1, 32)
LONG = ("torch-compiled", 32)  # left out by --quick: compiling takes a minute or two
PACKAGES = ("torch", "onnxruntime", "openvino")
GOAL = 3.0  # --check: how many times faster than eager PyTorch ONNX Runtime is, at batch 1 and one thread
FULL = replace(DEFAULT_PROTOCOL, min_s=3.0, max_s=15.0, tolerance=0.01, timeout_s=900.0)
QUICK = replace(DEFAULT_PROTOCOL, min_s=0.5, max_s=3.0, timeout_s=300.0)


def speedups(cells: Sequence[Cell]) -> dict[str, tuple[float, float, float] | None]:
    """Of each network, eager PyTorch's latency over ONNX Runtime's at batch 1, with the interval of `ratio`."""
    of = {(cell.network, cell.runtime): cell for cell in cells if cell.batch == 1}
    return {network: ratio(of[network, "torch"], of[network, "onnxruntime"]) for network in NETWORKS}


def markdown(cells: Sequence[Cell], facts: str) -> str:
    """The table of all cells, the ratios, the conditions and what is to be said of single cells."""
    of = {(cell.runtime, cell.network, cell.batch): cell for cell in cells}
    columns = [(network, batch) for network in NETWORKS for batch in BATCHES]
    header = ["Latency of a batch, ms", *(f"{ABOUT[network].title}, batch {batch}" for network, batch in columns)]
    rows = [
        [title, *(of[key].told() if (key := (runtime, *column)) in of else "left out" for column in columns)]
        for runtime, title in RUNTIMES.items()
    ]
    told = [["PyTorch, eager / ONNX Runtime, batch 1"]]
    told[0] += [interval(*found) if found else "failed" for found in speedups(cells).values()]
    return "\n".join(
        [
            table(header, rows),
            "",
            table(["Ratio", *(ABOUT[network].title for network in NETWORKS)], told),
            "",
            f"Medians with their 95 % intervals (ratios: at least 90 %), fp32, 10 classes, input 32x32; {facts}.",
            *(["", *found] if (found := remarks(cells)) else []),
        ]
    )


def reached(cells: Sequence[Cell]) -> bool:
    """Whether ONNX Runtime is GOAL times as fast as eager PyTorch for each network, at the low end of the interval."""
    return all(found is not None and found[1] >= GOAL for found in speedups(cells).values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; the exit status."""
    goal = f"ONNX Runtime is {GOAL:g} times as fast as eager PyTorch at batch 1 and one thread, for each network"
    parser = options("runtimes", "Latency of the ThreshNets on this CPU, runtime by runtime, as Markdown.", goal)
    parser.add_argument("--threads", type=int, default=1, help="of each runtime's pool [1]")
    given = parser.parse_args(arguments)
    if given.check and given.threads != 1:
        parser.error(f"--check goes with one thread, not --threads {given.threads}")
    try:
        protocol: Protocol = replace(QUICK if given.quick else FULL, threads=given.threads)
    except InputError as error:
        parser.error(str(error))
    cells = [
        measured("cpu", network, runtime, replace(protocol, batch=batch))
        for runtime in RUNTIMES
        for network in NETWORKS
        for batch in BATCHES
        if not (given.quick and (runtime, batch) == LONG)
    ]
    processor = f"{processor_name()} ({usable_processors()} processors, {given.threads} thread(s) used)"
    facts = conditions(processor, packages=PACKAGES)
    page = markdown(cells, facts)
    document = {
        "conditions": facts,
        "protocol": protocol.to_json(),
        "cells": [asdict(cell) for cell in cells],
        "eager_over_onnxruntime": speedups(cells),
    }
    publish(page, document, given.output)
    return int(given.check and not reached(cells))


if __name__ == "__main__":
    sys.exit(main())
