"""Picking one network of a front by a rule, with its neighbours and a confidence estimate.

The confidence is the share of noisy resamples of all candidates' readings in which the same rule picks the same
network. A latency is resampled from a normal distribution whose halves reach the ends of its 95 % interval at 1.96
standard deviations; variance between passes on other days is left out (see search.latency.reading.Latency). An error is
resampled with the binomial standard error of the validation images, its share moved towards a half (Agresti and Coull,
1998, "Approximate is better than 'exact'"), so that an error of 0 is not certain. Resamples are independent although
all networks are scored on the same images, so differences are known somewhat better than stated. They are centred on
the readings, and the lowest of many errors is low partly by chance, so the confidence is somewhat optimistic.

A study trains each network once (search/claims.py), so the variance between training seeds is unknown and left out
unless it is given. No default is assumed: ThreshBench's spread between seeds (benchmarks.threshbench.table.noise) is
six times larger in one of its two tables than in the other, so neither is an estimate for a study.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from search.intervals import NORMAL_95
from search.pareto import Points, knee
from search.records import Record, reading
from studies.fronts.front import Front, nondominated
from threshnet import strict
from threshnet.errors import InputError, require
from threshnet.strict import Range

Floats = NDArray[np.float64]
Most = Annotated[float, Range(above=0)]
Percent = Annotated[float, Range(0, unit="percent")]
Rule = Literal["lowest error", "fastest", "knee"]

RESAMPLES = 2000  # of the readings, behind the confidence
SEED = 0
PRIOR = 2  # errors, and as many correct answers, that Agresti and Coull add
MAX_OTHERS = 3  # alternatives that are reported


@dataclass(frozen=True)
class PickRequest:
    """The limits on the picked network (None = no limit), and whether to pick the knee."""

    latency_ms: Annotated[float, Range(above=0, unit="milliseconds")] | None = None
    # Validation error, percent.
    error: Percent | None = None
    params: Most | None = None
    macs: Most | None = None
    knee: bool = False

    def __post_init__(self) -> None:
        strict.check(self)

    @property
    def rule(self) -> Rule:
        """Lowest error if only latency is limited, fastest if only error is, else the knee."""
        if self.knee or (self.latency_ms is None) == (self.error is None):
            return "knee"
        return "lowest error" if self.error is None else "fastest"


@dataclass(frozen=True)
class Limit:
    """One limit on n candidates, and the value of each candidate."""

    # The command's option.
    flag: str
    at: float
    # Words before the lowest value among the candidates.
    lowest: str
    values: Floats
    # Divisor, decimals and unit of a printed value.
    scale: float
    digits: int
    unit: str

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Mask (n,) of the candidates that satisfy it."""
        return self.values <= self.at

    @property
    def text(self) -> str:
        """The limit with its unit."""
        return f"{self.at / self.scale:g}{self.unit}"


@dataclass(frozen=True)
class Noise:
    """Standard deviations of n candidates' readings."""

    # Of the latency below and above its reading, ms, (n,).
    below_ms: Floats
    above_ms: Floats
    # Of the error, percentage points, (n,).
    error: Floats


@dataclass(frozen=True)
class Confidence:
    """The share of noisy resamples of the readings in which the rule picks the same network."""

    draws: int
    # 0 to 1.
    share: float
    # The most frequent alternatives, with their shares.
    others: tuple[tuple[Record, float], ...]
    # Share of the resamples in which no network satisfies the limits.
    none: float


@dataclass(frozen=True)
class Pick:
    """One network of a front, with the reason and a confidence estimate."""

    study: str
    backend: str
    caveat: str
    request: PickRequest
    record: Record
    # Numbers of feasible trained networks: all, within the limits on params and MACs, within all limits.
    feasible: int
    candidates: int
    within: int
    # The neighbours on the candidates' front, whether or not they satisfy the limits on latency and error.
    faster: Record | None
    better: Record | None
    # Networks of that front whose latency interval contains the limit on latency.
    edge: tuple[Record, ...]
    confidence: Confidence
    # Inputs of the confidence: images per error, and the standard deviation between training seeds if given.
    validation_images: int
    training_noise: float | None


def pick(front: Front, request: PickRequest, validation_images: int, training_noise: float | None = None) -> Pick:
    """Pick the network of a front that satisfies `request`, from validation errors and latencies alone.

    `training_noise` is the standard deviation of an error between training seeds, percentage points. The front is that
    of the feasible networks within the limits on params and MACs. Raises InputError if none is left, with the number
    that each limit excludes.
    """
    whole = type(validation_images) is int and validation_images > 0
    require(whole, "validation_images", validation_images, "a whole number, at least 1")
    noisy = training_noise is None or (type(training_noise) in (int, float) and 0 <= training_noise <= 100)
    require(noisy, "training_noise", training_noise, "a number of percentage points from 0 to 100")
    feasible = [record for record in front.trained if record.state == "finished"]
    if not feasible:
        raise InputError(f"study {front.study!r}: nothing to pick, every trained network violates a constraint")
    candidates = [
        record
        for record in feasible
        if (request.params is None or record.costs["params"] <= request.params)
        and (request.macs is None or record.costs["macs"] <= request.macs)
    ]
    points = points_of(candidates)
    chosen = choose(points, request)
    if chosen is None:
        raise InputError(f"study {front.study!r} on {front.backend}: {excluded(limits_on(feasible, request))}")
    record, line = candidates[chosen], nondominated(candidates)
    noise = noise_of(candidates, validation_images, training_noise or 0.0)
    at = request.latency_ms
    return Pick(
        study=front.study,
        backend=front.backend,
        caveat=front.caveat,
        request=request,
        record=record,
        feasible=len(feasible),
        candidates=len(candidates),
        within=int(within_limits(points, request).sum()),
        faster=next((one for one in reversed(line) if one.point[0] < record.point[0]), None),
        better=next((one for one in line if one.point[1] < record.point[1]), None),
        edge=tuple(one for one in line if at is not None and reading(one).low_ms < at < reading(one).high_ms),
        confidence=confidence(candidates, chosen, request, noise),
        validation_images=validation_images,
        training_noise=training_noise,
    )


def points_of(candidates: Sequence[Record]) -> Points:
    """Latency in ms and error in percent, (n, 2)."""
    return np.array([record.point for record in candidates], dtype=np.float64).reshape(-1, 2)


def within_limits(points: Points, request: PickRequest) -> NDArray[np.bool_]:
    """Mask (n,) of the points (n, 2) within the limits on latency and error."""
    limits = [np.inf if limit is None else limit for limit in (request.latency_ms, request.error)]
    return np.asarray((points <= limits).all(axis=1))


def choose(points: Points, request: PickRequest) -> int | None:
    """Index of the point (n, 2) that the rule picks within the limits on latency and error; None if there is none.

    Ties in error go to the faster point, ties in latency to the more accurate one, equal points to the first.
    """
    inside = np.flatnonzero(within_limits(points, request))
    if not inside.size:
        return None
    left = points[inside]
    match request.rule:
        case "knee":
            return int(inside[knee(left)])
        case "lowest error":
            return int(inside[np.lexsort((left[:, 0], left[:, 1]))[0]])
        case "fastest":
            return int(inside[np.lexsort((left[:, 1], left[:, 0]))[0]])


def noise_of(candidates: Sequence[Record], validation_images: int, training_noise: float) -> Noise:
    """Standard deviations of each candidate's readings, see the module's docstring; `training_noise` in points."""
    readings = [reading(record) for record in candidates]
    middle, low, high = (
        np.array([getattr(one, name) for one in readings]) for name in ("latency_ms", "low_ms", "high_ms")
    )
    share = (points_of(candidates)[:, 1] / 100 * validation_images + PRIOR) / (validation_images + 2 * PRIOR)
    binomial = 100 * np.sqrt(share * (1 - share) / (validation_images + 2 * PRIOR))
    return Noise((middle - low) / NORMAL_95, (high - middle) / NORMAL_95, np.hypot(binomial, training_noise))


def confidence(candidates: Sequence[Record], chosen: int, request: PickRequest, noise: Noise) -> Confidence:
    """The share of seeded resamples of the readings in which the rule picks `chosen`, and the alternatives."""
    points = points_of(candidates)
    normal = np.random.default_rng(SEED).standard_normal((RESAMPLES, 2, len(candidates)))
    latency = points[:, 0] + normal[:, 0] * np.where(normal[:, 0] < 0, noise.below_ms, noise.above_ms)
    error = np.clip(points[:, 1] + normal[:, 1] * noise.error, 0, 100)
    picks = Counter(choose(resampled, request) for resampled in np.stack([latency, error], axis=2))
    others = [(candidates[each], n / RESAMPLES) for each, n in picks.most_common() if each not in (None, chosen)]
    return Confidence(RESAMPLES, picks[chosen] / RESAMPLES, tuple(others[:MAX_OTHERS]), picks[None] / RESAMPLES)


def limits_on(records: Sequence[Record], request: PickRequest) -> list[Limit]:
    """The limits of a request, in the order of the command's options."""
    points = points_of(records)
    params, macs = (np.array([record.costs[key] for record in records], dtype=np.float64) for key in ("params", "macs"))
    limits = []
    if request.latency_ms is not None:
        limits.append(Limit("--max-latency", request.latency_ms, "the fastest takes", points[:, 0], 1.0, 3, " ms"))
    if request.error is not None:
        limits.append(Limit("--max-error", request.error, "the most accurate has", points[:, 1], 1.0, 2, " %"))
    if request.params is not None:
        limits.append(Limit("--max-params", request.params, "the smallest has", params, 1e6, 3, "M"))
    if request.macs is not None:
        limits.append(Limit("--max-macs", request.macs, "the lightest has", macs, 1e6, 1, "M"))
    return limits


def exceeded(record: Record, request: PickRequest) -> list[Limit]:
    """The limits of a request that a network does not satisfy."""
    return [limit for limit in limits_on([record], request) if not limit.inside.all()]


def excluded(limits: Sequence[Limit]) -> str:
    """The reason why no network is left: the number that each limit excludes, and the nearest value to it."""
    parts = []
    for limit in limits:
        others = [other.inside for other in limits if other is not limit]
        among = limit.values[np.logical_and.reduce(others)] if others else limit.values
        lost = (~limit.inside).sum()
        what = f"{limit.flag} {limit.text} excludes {lost} of {len(limit.values)}"
        nearest = f"{among.min() / limit.scale:.{limit.digits}f}{limit.unit}" if among.size else ""
        whose = "of those within the other limits " if others else ""
        parts.append(
            f"{what} ({whose}{limit.lowest} {nearest})" if nearest else f"{what} (none satisfies the other limits)"
        )
    return f"no network is left: {'; '.join(parts)}"
