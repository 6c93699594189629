"""Picking one network of a front: by which rule, why it and not its neighbours, and how sure that is.

How sure is judged by drawing every candidate's latency and error anew and picking again by the same rule. The noise:
a latency scatters about its reading as a normal whose halves reach the ends of its 95 % interval at 1.96 standard
deviations, so what passes on other days differ by is left out (see search.latency.reading.Latency). An error scatters
by the binomial standard error of the validation images, its share moved towards a half (Agresti and Coull, 1998,
"Approximate is better than 'exact'"), so that no error of 0 is certain. Draws are independent, though all networks saw
the same images and so err together: differences are somewhat surer than told. They are centred on what was read, and of
many errors the least was read too low by chance: the pick itself is somewhat less sure.

A study trains each network once (search/claims.py), so the variance between training seeds is unknown and left out
unless it is given. No default is assumed: ThreshBench's spread between seeds (benchmarks.threshbench.table.noise) is
six times larger in one of its two tables than in the other, so neither is an estimate for a study.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.intervals import NORMAL_95
from search.pareto import Points, knee
from search.records import Record, reading
from studies.fronts.front import Front, nondominated
from threshnet.errors import InputError

Floats = NDArray[np.float64]
Rule = Literal["least error", "quickest", "knee"]

DRAWS = 2000
SEED = 0
PRIOR = 2  # errors, and as many right answers, that Agresti and Coull add
OTHERS = 3  # networks named that would be picked instead


@dataclass(frozen=True)
class PickRequest:
    """What the network must keep to, and whether the knee is wanted; None = no limit."""

    latency_ms: float | None = None
    # Validation error, percent.
    error: float | None = None
    params: float | None = None
    macs: float | None = None
    knee: bool = False

    @property
    def rule(self) -> Rule:
        """The least error where latency alone is limited, the quickest where error alone is, else the knee."""
        if self.knee or (self.latency_ms is None) == (self.error is None):
            return "knee"
        return "least error" if self.error is None else "quickest"


@dataclass(frozen=True)
class Limit:
    """One limit on n candidates, and where each of them stands."""

    # The command's option.
    flag: str
    at: float
    # How the candidate of the least value is told of, before its value.
    least: str
    values: Floats
    # What values are divided by in print, digits behind the point, and unit.
    scale: float
    digits: int
    unit: str

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Mask (n,) of the candidates that keep it."""
        return self.values <= self.at

    @property
    def told(self) -> str:
        """The limit itself, with its unit."""
        return f"{self.at / self.scale:g}{self.unit}"


@dataclass(frozen=True)
class Noise:
    """Standard deviations of n candidates' readings."""

    # Of the latency downwards and upwards, ms, (n,).
    below_ms: Floats
    above_ms: Floats
    # Of the error, percentage points, (n,).
    error: Floats


@dataclass(frozen=True)
class Confidence:
    """How often the same rule picks the same network when readings are drawn anew."""

    draws: int
    # Share of the draws, 0 to 1.
    share: float
    # The networks that most often come instead, with their shares.
    others: tuple[tuple[Record, float], ...]
    # Share of the draws in which no network keeps the limits.
    none: float


@dataclass(frozen=True)
class Pick:
    """One network of a front, with what speaks for it."""

    study: str
    backend: str
    caveat: str
    asked: PickRequest
    record: Record
    # Feasible trained networks, of these those that keep the limits on params and MACs, and those that keep all limits.
    feasible: int
    candidates: int
    within: int
    # The next on the candidates' front, whether or not it keeps the limits on latency and error.
    quicker: Record | None
    better: Record | None
    # Networks of that front whose latency interval straddles the limit on latency.
    edge: tuple[Record, ...]
    confidence: Confidence
    # What the confidence rests on: images that each error was counted on, and the spread between trainings if given.
    validation_images: int
    training_noise: float | None


def pick(front: Front, asked: PickRequest, validation_images: int, training_noise: float | None = None) -> Pick:
    """The network of a front that `asked` calls for, from validation errors and latencies alone.

    `training_noise` is the standard deviation of an error between trainings, percentage points. The front is that of
    the feasible networks within the limits on params and MACs. InputError where none is left, naming what each limit
    excludes.
    """
    feasible = [record for record in front.trained if record.state == "finished"]
    if not feasible:
        raise InputError(f"study {front.study!r}: no trained network keeps the study's own limits, so there is no pick")
    candidates = [
        record
        for record in feasible
        if (asked.params is None or record.costs["params"] <= asked.params)
        and (asked.macs is None or record.costs["macs"] <= asked.macs)
    ]
    points = points_of(candidates)
    chosen = choose(points, asked)
    if chosen is None:
        raise InputError(f"study {front.study!r} on {front.backend}: {excluded(limits_on(feasible, asked))}")
    record, line = candidates[chosen], nondominated(candidates)
    noise = noise_of(candidates, validation_images, training_noise or 0.0)
    at = asked.latency_ms
    return Pick(
        study=front.study,
        backend=front.backend,
        caveat=front.caveat,
        asked=asked,
        record=record,
        feasible=len(feasible),
        candidates=len(candidates),
        within=int(kept(points, asked).sum()),
        quicker=next((one for one in reversed(line) if one.point[0] < record.point[0]), None),
        better=next((one for one in line if one.point[1] < record.point[1]), None),
        edge=tuple(one for one in line if at is not None and reading(one).low_ms < at < reading(one).high_ms),
        confidence=confidence(candidates, chosen, asked, noise),
        validation_images=validation_images,
        training_noise=training_noise,
    )


def points_of(candidates: Sequence[Record]) -> Points:
    """Latency in ms and error in percent, (n, 2)."""
    return np.array([record.point for record in candidates], dtype=np.float64).reshape(-1, 2)


def kept(points: Points, asked: PickRequest) -> NDArray[np.bool_]:
    """Mask (n,) of the points (n, 2) within the limits on latency and error."""
    limits = [np.inf if limit is None else limit for limit in (asked.latency_ms, asked.error)]
    return np.asarray((points <= limits).all(axis=1))


def choose(points: Points, asked: PickRequest) -> int | None:
    """Index of the point (n, 2) that the rule picks within the limits on latency and error; None where none is there.

    Of equal errors the quicker one is picked, of equal latencies the more accurate one, of equal points the first.
    """
    inside = np.flatnonzero(kept(points, asked))
    if not inside.size:
        return None
    left = points[inside]
    match asked.rule:
        case "knee":
            return int(inside[knee(left)])
        case "least error":
            return int(inside[np.lexsort((left[:, 0], left[:, 1]))[0]])
        case "quickest":
            return int(inside[np.lexsort((left[:, 1], left[:, 0]))[0]])


def noise_of(candidates: Sequence[Record], validation_images: int, training_noise: float) -> Noise:
    """How far each candidate's readings may be off, see the module's docstring; `training_noise` in points."""
    readings = [reading(record) for record in candidates]
    middle, low, high = (
        np.array([getattr(one, name) for one in readings]) for name in ("latency_ms", "low_ms", "high_ms")
    )
    share = (points_of(candidates)[:, 1] / 100 * validation_images + PRIOR) / (validation_images + 2 * PRIOR)
    binomial = 100 * np.sqrt(share * (1 - share) / (validation_images + 2 * PRIOR))
    return Noise((middle - low) / NORMAL_95, (high - middle) / NORMAL_95, np.hypot(binomial, training_noise))


def confidence(candidates: Sequence[Record], chosen: int, asked: PickRequest, noise: Noise) -> Confidence:
    """In what share of seeded draws of the candidates' readings the rule picks `chosen`, and what it picks else."""
    points = points_of(candidates)
    normal = np.random.default_rng(SEED).standard_normal((DRAWS, 2, len(candidates)))
    latency = points[:, 0] + normal[:, 0] * np.where(normal[:, 0] < 0, noise.below_ms, noise.above_ms)
    error = np.clip(points[:, 1] + normal[:, 1] * noise.error, 0, 100)
    picks = Counter(choose(drawn, asked) for drawn in np.stack([latency, error], axis=2))
    others = [(candidates[each], n / DRAWS) for each, n in picks.most_common() if each not in (None, chosen)]
    return Confidence(DRAWS, picks[chosen] / DRAWS, tuple(others[:OTHERS]), picks[None] / DRAWS)


def limits_on(records: Sequence[Record], asked: PickRequest) -> list[Limit]:
    """The limits that were asked for, in the order of the command's options."""
    points = points_of(records)
    params, macs = (np.array([record.costs[key] for record in records], dtype=np.float64) for key in ("params", "macs"))
    found = []
    if asked.latency_ms is not None:
        found.append(Limit("--max-latency", asked.latency_ms, "the quickest takes", points[:, 0], 1.0, 3, " ms"))
    if asked.error is not None:
        found.append(Limit("--max-error", asked.error, "the most accurate errs by", points[:, 1], 1.0, 2, " %"))
    if asked.params is not None:
        found.append(Limit("--max-params", asked.params, "the smallest has", params, 1e6, 3, "M"))
    if asked.macs is not None:
        found.append(Limit("--max-macs", asked.macs, "the lightest has", macs, 1e6, 1, "M"))
    return found


def broken(record: Record, asked: PickRequest) -> list[Limit]:
    """The limits that were asked for and that a network does not keep."""
    return [limit for limit in limits_on([record], asked) if not limit.inside.all()]


def excluded(limits: Sequence[Limit]) -> str:
    """Why no network is left: what each limit excludes, and how near to it those come that keep the other limits."""
    parts = []
    for limit in limits:
        others = [other.inside for other in limits if other is not limit]
        among = limit.values[np.logical_and.reduce(others)] if others else limit.values
        lost = (~limit.inside).sum()
        what = f"{limit.flag} {limit.told} excludes {lost} of {len(limit.values)}"
        nearest = f"{among.min() / limit.scale:.{limit.digits}f}{limit.unit}" if among.size else ""
        whose = "of those within the other limits " if others else ""
        parts.append(f"{what} ({whose}{limit.least} {nearest})" if nearest else f"{what} (none keeps the other limits)")
    return f"no network is left: {'; '.join(parts)}"
