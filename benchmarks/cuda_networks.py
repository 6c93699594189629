"""GPU time per image of the published networks, eager and with CUDA graphs: `python -m benchmarks.cuda_networks`.

The benchmark can be resumed. It stores each finished cell as a line of FILE.jsonl next to the output, and a rerun
measures only the missing cells.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.cells import INPUT_SIZE, Cell, measure_cell, notes, ratio, spec_of
from benchmarks.report import Document, conditions, digits, options, publish, recorded, table
from search.latency.devices.cuda import Cuda, cuda_device
from search.latency.probes.cuda_probe import nvidia_smi
from search.latency.protocol import DEFAULT_PROTOCOL, Precision, Protocol
from studies.json_lines import append, read_lines
from threshnet.errors import InputError
from threshnet.named import ABOUT, NAMED
from threshnet.published import PUBLISHED

# Published GPU time per image on an RTX 3050, in ms. The authors do not state batch size, clocks or use of TF32.
PUBLISHED_MS = {network: PUBLISHED[network].gpu_ms for network in NAMED}
RUNTIMES = {"torch": "eager", "torch-graph": "graph"}
BATCHES = (1, 100)
OUTPUT = Path("runs/cuda_networks.md")  # without --output, finished cells go to this path, suffix .jsonl
FULL = replace(DEFAULT_PROTOCOL, min_s=3.0, max_s=15.0, tolerance=0.01)
QUICK = replace(DEFAULT_PROTOCOL, min_s=0.5, max_s=2.0)


def gpu_facts(device: Cuda) -> dict[str, str]:
    """Return name, torch version, driver, maximum SM clock and power limit of a GPU ("unknown" without nvidia-smi)."""
    properties = torch.cuda.get_device_properties(device.index)
    values = nvidia_smi(f"GPU-{properties.uuid}", "driver_version", "clocks.max.sm", "power.limit") or ["unknown"] * 3
    names = ("driver", "highest_sm_clock_mhz", "power_limit_w")
    return {"gpu": properties.name, "torch": torch.__version__, **dict(zip(names, values, strict=True))}


def finished_cells(file: Path) -> list[tuple[dict[str, Any], Cell]]:
    """Read (conditions, cell) from each complete line of a file."""
    return [(line["conditions"], Cell(**line["cell"])) for line in read_lines(file)]


def measure_all(device: Cuda, facts: dict[str, str], protocol: Protocol, file: Path) -> list[Cell]:
    """Return all cells. Cells that the file lacks under these conditions are measured and appended to the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    finished, cells = finished_cells(file), []
    for network in PUBLISHED_MS:
        for runtime in RUNTIMES:
            for batch in BATCHES:
                current = {
                    **facts,
                    "device": device.name,
                    "fingerprint": spec_of(network).fingerprint(),
                    "input_size": INPUT_SIZE,
                    "protocol": replace(protocol, batch=batch).to_json(),
                }
                earlier = [cell for taken_at, cell in finished if taken_at == current and cell.runtime == runtime]
                if earlier:
                    cells.append(earlier[-1])
                    continue
                cells.append(measure_cell(device, network, runtime, replace(protocol, batch=batch)))
                if cells[-1].summary is not None:
                    append(file, {"conditions": current, "cell": asdict(cells[-1])})
    return cells


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    cells = [Cell(**cell) for cell in document["cells"]]
    return markdown(cells, document["conditions"], document["protocol"]["precision"])


def markdown(cells: Sequence[Cell], facts: str, precision: str) -> str:
    """Return the table of all cells and published times, followed by the conditions and the notes."""
    of = {(cell.network, cell.runtime, cell.batch): cell for cell in cells}
    columns = [(runtime, batch) for batch in BATCHES for runtime in RUNTIMES]
    header = ["ms per image", *(f"batch {batch}, {RUNTIMES[runtime]}" for runtime, batch in columns)]
    rows = [
        [ABOUT[network].title, *(of[network, *column].text(per=column[1]) for column in columns), digits(published)]
        for network, published in PUBLISHED_MS.items()
    ]
    return "\n".join(
        [
            table([*header, "published, RTX 3050"], rows),
            "",
            f"Medians with 95 % intervals, measured with CUDA events; {precision}, 10 classes, 32x32 input. "
            f"Conditions: {facts}.",
            *(["", *lines] if (lines := notes(cells)) else []),
        ]
    )


def conditions_of(cells: Sequence[Cell], facts: dict[str, str]) -> str:
    """Return the line of conditions, including the SM clocks during the measurements."""
    states = [cell.summary[when]["clock_mhz"] for cell in cells if cell.summary for when in ("before", "after")]
    clocks = sorted(clock for clock in states if clock is not None)
    observed = f"SM clock {clocks[0]:.0f} to {clocks[-1]:.0f} MHz" if clocks else "SM clock unknown"
    return conditions(
        facts["gpu"],
        f"driver {facts['driver']}",
        f"{observed} under load (highest {facts['highest_sm_clock_mhz']})",
        f"power limit {facts['power_limit_w']} W",
        "TF32 off",
        "L2 not flushed",
        f"torch {facts['torch']}",
        packages=(),
    )


def reached(cells: Sequence[Cell]) -> bool:
    """True if, at batch 1, the lower bound of every network's speedup with CUDA graphs over eager is above 1."""
    of = {(cell.network, cell.runtime): cell for cell in cells if cell.batch == 1}
    ratios = [ratio(of[network, "torch"], of[network, "torch-graph"]) for network in PUBLISHED_MS]
    return all(one is not None and one[1] > 1 for one in ratios)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the missing cells, print and write the page, and return the exit status."""
    goal = "each network is faster as a graph than eager at batch 1"
    parser = options("cuda_networks", "GPU time per image of the published networks, as Markdown; resumable.", goal)
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N [cuda]")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32", help="[fp32]")
    args = parser.parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    try:
        device = cuda_device(args.device)
        device.present()
    except InputError as error:
        sys.stderr.write(f"cuda_networks: {error}\n")
        return 2
    facts = gpu_facts(device)
    protocol = replace(QUICK if args.quick else FULL, precision=args.precision)
    cells = measure_all(device, facts, protocol, (args.output or OUTPUT).with_suffix(".jsonl"))
    document = {
        "conditions": conditions_of(cells, facts),
        **facts,
        "protocol": protocol.to_json(),
        "cells": [asdict(cell) for cell in cells],
    }
    publish(render, document, args.output)
    return int(args.check and not reached(cells))


if __name__ == "__main__":
    sys.exit(main())
