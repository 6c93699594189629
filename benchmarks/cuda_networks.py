"""How long the published networks take an image on a GPU, eager and as a graph: `python -m benchmarks.cuda_networks`.

Resumable: each finished cell is a line of the file beside the output (FILE.jsonl), and a rerun goes on after it.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.cells import INPUT_SIZE, Cell, measured, ratio, remarks, spec_of
from benchmarks.json_lines import append, lines_of
from benchmarks.report import conditions, digits, options, publish, table
from search.latency.devices.cuda import Cuda, cuda_device
from search.latency.probes.cuda_probe import nvidia_smi
from search.latency.protocol import DEFAULT_PROTOCOL, Precision, Protocol
from threshnet.errors import InputError
from threshnet.named import ABOUT, NAMED
from threshnet.published import PUBLISHED

# GPU time of an image on an RTX 3050, ms, as published with ThreshNet; its batch, clocks and TF32 are not stated.
PUBLISHED_MS = {network: PUBLISHED[network].gpu_ms for network in NAMED}
RUNTIMES = {"torch": "eager", "torch-graph": "graph"}
BATCHES = (1, 100)
OUTPUT = Path("runs/cuda_networks.md")  # names the file of finished cells where --output does not
FULL = replace(DEFAULT_PROTOCOL, min_s=3.0, max_s=15.0, tolerance=0.01)
QUICK = replace(DEFAULT_PROTOCOL, min_s=0.5, max_s=2.0)


def gpu_facts(device: Cuda) -> dict[str, str]:
    """Of a GPU that is there: its name, driver, highest SM clock and power limit as far as nvidia-smi tells, torch."""
    properties = torch.cuda.get_device_properties(device.index)
    told = nvidia_smi(f"GPU-{properties.uuid}", "driver_version", "clocks.max.sm", "power.limit") or ["unknown"] * 3
    names = ("driver", "highest_sm_clock_mhz", "power_limit_w")
    return {"gpu": properties.name, "torch": torch.__version__, **dict(zip(names, told, strict=True))}


def finished(file: Path) -> list[tuple[dict[str, Any], Cell]]:
    """(conditions, cell) of each whole line, see json_lines.py."""
    return [(line["conditions"], Cell(**line["cell"])) for line in lines_of(file)]


def measure_all(device: Cuda, facts: dict[str, str], protocol: Protocol, file: Path) -> list[Cell]:
    """All cells, those that the file holds under these conditions as they are, the others measured and appended."""
    file.parent.mkdir(parents=True, exist_ok=True)
    known, cells = finished(file), []
    for network in PUBLISHED_MS:
        for runtime in RUNTIMES:
            for batch in BATCHES:
                fixed = {
                    **facts,
                    "device": device.name,
                    "fingerprint": spec_of(network).fingerprint(),
                    "input_size": INPUT_SIZE,
                    "protocol": replace(protocol, batch=batch).to_json(),
                }
                found = [cell for held, cell in known if held == fixed and cell.runtime == runtime]
                cells.append(found[-1] if found else measured(device, network, runtime, replace(protocol, batch=batch)))
                if not found and cells[-1].summary is not None:
                    append(file, {"conditions": fixed, "cell": asdict(cells[-1])})
    return cells


def markdown(cells: Sequence[Cell], facts: dict[str, str], precision: str) -> str:
    """The table of all cells beside the published times, the conditions and what is to be said of single cells."""
    of = {(cell.network, cell.runtime, cell.batch): cell for cell in cells}
    columns = [(runtime, batch) for batch in BATCHES for runtime in RUNTIMES]
    header = ["ms per image", *(f"batch {batch}, {RUNTIMES[runtime]}" for runtime, batch in columns)]
    rows = [
        [ABOUT[network].title, *(of[network, *column].told(per=column[1]) for column in columns), digits(published)]
        for network, published in PUBLISHED_MS.items()
    ]
    states = [cell.summary[when]["clock_mhz"] for cell in cells if cell.summary for when in ("before", "after")]
    clocks = sorted(clock for clock in states if clock is not None)
    seen = f"SM clock {clocks[0]:.0f} to {clocks[-1]:.0f} MHz" if clocks else "SM clock unknown"
    line = conditions(
        facts["gpu"],
        f"driver {facts['driver']}",
        f"{seen} under load (highest {facts['highest_sm_clock_mhz']})",
        f"power limit {facts['power_limit_w']} W",
        "TF32 off",
        "L2 not flushed",
        f"torch {facts['torch']}",
        packages=(),
    )
    return "\n".join(
        [
            table([*header, "published, RTX 3050"], rows),
            "",
            f"Medians with their 95 % intervals by CUDA events, {precision}, 10 classes, input 32x32; {line}.",
            *(["", *found] if (found := remarks(cells)) else []),
        ]
    )


def reached(cells: Sequence[Cell]) -> bool:
    """Whether each network is faster as a graph than eager at batch 1, at the low end of the interval."""
    of = {(cell.network, cell.runtime): cell for cell in cells if cell.batch == 1}
    found = [ratio(of[network, "torch"], of[network, "torch-graph"]) for network in PUBLISHED_MS]
    return all(one is not None and one[1] > 1 for one in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, print and write; the exit status."""
    goal = "each network is faster as a graph than eager at batch 1"
    parser = options("cuda_networks", "GPU time of the published networks per image, as Markdown; resumable.", goal)
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N [cuda]")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32", help="[fp32]")
    given = parser.parse_args(arguments)
    try:
        device = cuda_device(given.device)
        device.present()
    except InputError as error:
        sys.stderr.write(f"cuda_networks: {error}\n")
        return 2
    facts = gpu_facts(device)
    protocol = replace(QUICK if given.quick else FULL, precision=given.precision)
    cells = measure_all(device, facts, protocol, (given.output or OUTPUT).with_suffix(".jsonl"))
    page = markdown(cells, facts, given.precision)
    publish(page, {**facts, "protocol": protocol.to_json(), "cells": [asdict(cell) for cell in cells]}, given.output)
    return int(given.check and not reached(cells))


if __name__ == "__main__":
    sys.exit(main())
