"""The compared networks: published ThreshNets and HarDNets, baselines, and networks from files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from benchmarks.cells import CLASSES, spec_of
from benchmarks.report import installed
from threshnet.baselines import BASELINES, Baseline, build_baseline
from threshnet.costs import Costs, count
from threshnet.counting import count_baseline
from threshnet.errors import InputError
from threshnet.named import ABOUT, NAMED
from threshnet.network import build
from threshnet.spec import NetworkSpec
from threshnet.spec_file import read_spec_file

# A published network, a baseline with its original stride, a baseline with a total stride of 8, a network from a file.
Kind = Literal["spec", "baseline", "stride8", "file"]


@dataclass(frozen=True)
class System:
    """A network that takes part in the comparison."""

    # Name of the network, or of its file without the suffix.
    key: str
    kind: Kind
    # Display name.
    title: str
    # Where the definition of its layers comes from.
    origin: str
    # Identifies the network: the fingerprint of a spec, or the library and version of a baseline.
    identity: str
    # Builds the network with random weights. It maps images (n, 3, h, w) in [0, 1] to logits (n, CLASSES).
    make: Callable[[], nn.Module]
    # Computes its costs at an input size, in pixels.
    costs: Callable[[int], Costs]


def systems(discovered: Sequence[Path] = ()) -> tuple[System, ...]:
    """Return the published networks, the baselines and the networks in the JSON files `discovered`, in this order.

    Raises InputError if a file does not contain a network with CLASSES classes, or if two networks have the same name.
    """
    named = (_of_spec(name, "spec", ABOUT[name].title, ABOUT[name].origin, spec_of(name)) for name in NAMED)
    every = (*named, *map(_of_baseline, BASELINES.values()), *map(_of_file, discovered))
    keys = [system.key for system in every]
    duplicate = next((key for key in keys if keys.count(key) > 1), None)
    if duplicate:
        raise InputError(f"two networks are named {duplicate!r}; rename a file")
    return every


def kind_of(key: str) -> Kind:
    """Return the kind of a system from its key."""
    if key in BASELINES:
        return "stride8" if BASELINES[key].unstrided else "baseline"
    return "spec" if key in NAMED else "file"


def _of_spec(key: str, kind: Kind, title: str, origin: str, spec: NetworkSpec) -> System:
    return System(key, kind, title, origin, spec.fingerprint(), partial(build, spec), partial(count, spec))


def _of_baseline(baseline: Baseline) -> System:
    return System(
        key=baseline.key,
        kind=kind_of(baseline.key),
        title=baseline.title,
        origin=baseline.origin,
        identity=f"{baseline.key} of {baseline.library} {installed(baseline.library)}",
        make=partial(build_baseline, baseline, CLASSES),
        costs=partial(count_baseline, baseline, classes=CLASSES),
    )


def _of_file(path: Path) -> System:
    network = read_spec_file(path)
    if network.spec.classes != CLASSES:
        raise InputError(f"{path}: classes = {network.spec.classes}: must be {CLASSES}")
    return _of_spec(path.stem, "file", network.title, network.origin, network.spec)
