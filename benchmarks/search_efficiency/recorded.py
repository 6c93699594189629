"""The recorded tables of the results page, and the settings of their replays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.table_replay.runs import Settings
from benchmarks.table_replay.table import Columns, Table, read_csv
from benchmarks.threshbench.table import FOLDER, INPUT_SIZE, RUNGS, SPACE
from benchmarks.threshbench.table import read as read_threshbench
from search.samplers.candidates import DESCRIPTORS, descriptors_of
from space import decode

TABLES = Path(__file__).parents[1] / "tables"
EDGES = ("e01", "e02", "e12", "e03", "e13", "e23")  # of a cell of NAS-Bench-201
LAYERS = ("macs", "weights", "n_conv", "n_pool", "n_fc", "gap", "depth")  # descriptors of MetaQNN's networks


@dataclass(frozen=True)
class Recorded:
    """A recorded table and how it is replayed."""

    title: str
    read: Callable[[], Table]
    settings: Settings
    # Whether the settings of our search were chosen on this table.
    development: bool = False


def nasbench201(latency: str) -> Callable[[], Table]:
    """Return a function that reads NAS-Bench-201 with the latencies of one column."""
    columns = Columns(
        latency=latency,
        final="test_acc_200",
        accuracy=True,
        rungs={"val_acc_12": 0.06},
        choices=EDGES,
        descriptors=("params", "macs"),
        same_as="rep_index",
    )
    return lambda: read_csv(TABLES / "nasbench201_cifar10.csv.gz", columns)


def metaqnn(data: str) -> Callable[[], Table]:
    """Return a function that reads the MetaQNN table of a data set, with MACs in place of a latency."""
    columns = Columns(
        latency="macs",
        final="acc_20",
        accuracy=True,
        rungs={"acc_1": 1 / 20, "acc_5": 5 / 20},
        descriptors=LAYERS,
    )
    return lambda: read_csv(TABLES / f"metaqnn_{data}_curves.csv.gz", columns, resumes=True)


def threshbench(data: str) -> Callable[[], Table]:
    """Return a function that reads the ThreshBench table of a data set."""

    def read() -> Table:
        entries = read_threshbench(FOLDER / f"threshbench_{data}.jsonl").entries
        network_of = {entry.spec.fingerprint(): place for place, entry in enumerate(entries)}
        names = tuple(SPACE.distributions())
        values = [range(each.low, each.high + 1) for each in SPACE.distributions().values()]
        rows = np.array(list(product(*values)))
        networks = [
            network_of[decode(SPACE, dict(zip(names, row, strict=True))).fingerprint()] for row in rows.tolist()
        ]
        own = np.array([[entry.params[name] for name in names] for entry in entries])
        lowest = rows.min(axis=0)
        return Table(
            name=f"threshbench_{data}",
            options={name: tuple(map(str, each)) for name, each in zip(names, values, strict=True)},
            choices=own - lowest,
            row_choices=rows - lowest,
            row_networks=np.array(networks),
            descriptors=np.array([descriptors_of(entry.spec, INPUT_SIZE) for entry in entries]),
            descriptor_names=DESCRIPTORS,
            latency=np.array([entry.latency_ms for entry in entries]),
            errors=np.array([entry.errors for entry in entries]),
            costs=np.array(RUNGS) / RUNGS[-1],
            resumes=True,
        )

    return read


CELLS = Settings(budget=250.0, max_error=15.0, goal=95)
CHAINS = Settings(budget=200.0)
RECORDED: Mapping[str, Recorded] = {
    "nasbench201_pi4": Recorded("NAS-Bench-201, Raspberry Pi 4", nasbench201("lat_raspi4"), CELLS, development=True),
    "nasbench201_xeon": Recorded("NAS-Bench-201, Xeon Gold 6226", nasbench201("lat_gold_6226"), CELLS),
    "nasbench201_titan": Recorded("NAS-Bench-201, Titan RTX", nasbench201("lat_titan_rtx_1"), CELLS),
    "metaqnn_svhn": Recorded("MetaQNN, SVHN", metaqnn("svhn"), CHAINS, development=True),
    "metaqnn_cifar10": Recorded("MetaQNN, CIFAR-10", metaqnn("cifar10"), CHAINS),
    "threshbench_svhn": Recorded("ThreshBench, SVHN", threshbench("svhn"), CHAINS, development=True),
    "threshbench_cifar10": Recorded("ThreshBench, CIFAR-10", threshbench("cifar10"), CHAINS),
}
