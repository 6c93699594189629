"""ThreshBench: all networks of a small space, each fully trained once and scored at every rung.

A table is a JSON Lines file. The first line has the settings and conditions, each further line a latency or a training.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from search.latency.protocol import Protocol
from search.training.recipes import FAST
from space import SMALL_IMAGES, Space, decode, encode
from threshnet.costs import Costs, count
from threshnet.spec import NetworkSpec, StemSpec

FOLDER = Path(__file__).parents[1] / "results"
INPUT_SIZE = 32
# Each of the two blocks has a threshold, a depth and a growth. A block with one layer does not depend on its threshold.
SPACE = replace(
    SMALL_IMAGES,
    name="threshbench",
    granularity="block",
    stems=(StemSpec((16, 32), stride=2, pool=False),),
    activations=("relu",),
    blocks=(2,),
    layers=(1, 4),
    thresholds=(0, 1, 2, 3),
    units=("conv",),
    bottleneck_widths=(32,),
    multipliers=(1.0,),
    outputs=("all",),
    growths=(4, 8, 16),
    transitions=(64,),
    pools=(True,),
    block_dropouts=(0.0,),
    head_dropouts=(0.0,),
)
RUNGS = (1, 2, 4, 8)  # epochs
RECIPE = replace(FAST, epochs=RUNGS[-1], batch=64)
PROTOCOL = Protocol(min_s=0.3, max_s=1.0)


@dataclass(frozen=True)
class Trained:
    """One training of one network."""

    seed: int
    # Validation error at each rung, in percent.
    errors: tuple[float, ...]
    # Wall-clock time in one thread, in seconds. Other work was running on the machine.
    seconds: float


@dataclass(frozen=True)
class Entry:
    """One network of the table."""

    params: dict[str, int]  # parameters of an Optuna trial
    spec: NetworkSpec
    costs: Costs
    # Median latency on the machine that recorded the table, and its 95 % interval.
    latency_ms: float
    latency_interval_ms: tuple[float, float]
    trained: tuple[Trained, ...]  # searches use the first training

    @property
    def errors(self) -> tuple[float, ...]:
        """Validation errors that a search sees at the rungs, in percent."""
        return self.trained[0].errors


@dataclass(frozen=True)
class Table:
    """A recorded table."""

    # Settings and conditions: "data", "recipe", "rungs", "images", "passes_per_epoch", "environment", "caveat".
    about: dict[str, Any]
    entries: tuple[Entry, ...]

    @property
    def images_per_epoch(self) -> int:
        """Number of training images processed in one epoch."""
        return int(self.about["passes_per_epoch"])


def networks(space: Space = SPACE) -> dict[str, NetworkSpec]:
    """Return all distinct networks of a small space by fingerprint."""
    distributions = space.distributions()
    ranges = [range(each.low, each.high + 1) for each in distributions.values()]
    specs = (decode(space, dict(zip(distributions, codes, strict=True))) for codes in product(*ranges))
    return {spec.fingerprint(): spec for spec in specs}


def read(file: Path) -> Table:
    """Read a recorded table. Raises ValueError if it is incomplete."""
    about, *lines = (json.loads(line) for line in file.read_text().splitlines())
    latency = {line["network"]: line for line in lines if "latency_ms" in line}
    trained: dict[str, list[Trained]] = {}
    for line in lines:
        if "errors" in line:
            one = Trained(line["seed"], tuple(line["errors"]), line["seconds"])
            trained.setdefault(line["network"], []).append(one)
    specs = networks()
    missing = [name for name in specs if name not in latency or name not in trained]
    if missing:
        raise ValueError(f"{file}: {len(missing)} of {len(specs)} networks are not recorded yet")
    entries = tuple(
        Entry(
            params=encode(SPACE, spec),
            spec=spec,
            costs=count(spec, INPUT_SIZE),
            latency_ms=latency[name]["latency_ms"],
            latency_interval_ms=tuple(latency[name]["interval_ms"]),
            trained=tuple(sorted(trained[name], key=lambda one: one.seed)),
        )
        for name, spec in specs.items()
    )
    return Table(about, entries)


def noise(entries: Sequence[Entry]) -> tuple[float, int]:
    """Return the pooled standard deviation of the final error over seeds, in points, and the number of networks."""
    repeated = [[one.errors[-1] for one in entry.trained] for entry in entries if len(entry.trained) > 1]
    degrees_of_freedom = sum(len(errors) - 1 for errors in repeated)
    squares = sum(sum((error - sum(errors) / len(errors)) ** 2 for error in errors) for errors in repeated)
    return (squares / degrees_of_freedom) ** 0.5 if degrees_of_freedom else float("nan"), len(repeated)
