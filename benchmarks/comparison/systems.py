"""The systems that this project answers for, and networks set beside them: how each is made and counted."""

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


@dataclass(frozen=True)
class System:
    """A network under comparison."""

    # Its name, or that of the file it is from.
    key: str
    # "spec": a published network of this project; "baseline", "stride8": a comparison network; "file": one in a file.
    kind: Literal["spec", "baseline", "stride8", "file"]
    # As it is written in print.
    title: str
    # Where its layers come from, in words.
    origin: str
    # Equal exactly for equal networks: the fingerprint of a spec, a library's version of its network.
    identity: str
    # A freshly initialised module: (n, 3, h, w) images in [0, 1] to logits (n, CLASSES).
    make: Callable[[], nn.Module]
    # What it costs at an input size, pixels.
    costs: Callable[[int], Costs]


def systems(discovered: Sequence[Path] = ()) -> tuple[System, ...]:
    """The published networks, the comparison networks, and the networks in `discovered` JSON files, in this order.

    InputError where a file holds no network of CLASSES classes, or two have one name.
    """
    named = (_of_spec(name, "spec", ABOUT[name].title, ABOUT[name].origin, spec_of(name)) for name in NAMED)
    found = (*named, *map(_of_baseline, BASELINES.values()), *map(_of_file, discovered))
    keys = [system.key for system in found]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise InputError(f"network {twice!r}: named twice; allowed is a name for each network")
    return found


def _of_spec(key: str, kind: Literal["spec", "file"], title: str, origin: str, spec: NetworkSpec) -> System:
    return System(key, kind, title, origin, spec.fingerprint(), partial(build, spec), partial(count, spec))


def _of_baseline(baseline: Baseline) -> System:
    return System(
        key=baseline.key,
        kind="stride8" if baseline.unstrided else "baseline",
        title=baseline.title,
        origin=baseline.origin,
        identity=f"{baseline.key} of {baseline.library} {installed(baseline.library)}",
        make=partial(build_baseline, baseline, CLASSES),
        costs=partial(count_baseline, baseline, classes=CLASSES),
    )


def _of_file(path: Path) -> System:
    given = read_spec_file(path)
    if given.spec.classes != CLASSES:
        raise InputError(f"{path}: classes = {given.spec.classes}: must be {CLASSES}")
    return _of_spec(path.stem, "file", given.title, given.origin, given.spec)
