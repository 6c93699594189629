"""Pick one network of a front by a rule, with its neighbours and a confidence estimate.

To estimate the confidence, the readings of all candidates are resampled with noise. The confidence is the fraction of
resamples in which the rule picks the same network. A latency is resampled from a two-piece normal distribution: each
half has the standard deviation that puts its end of the 95 % interval at 1.96 standard deviations. The variance between
different days is not included (see search.latency.reading.Latency). An error is resampled with its binomial standard
error on the validation images. The error rate is first shifted towards one half, so that an error of 0 also has some
variance (Agresti and Coull, 1998, "Approximate is better than 'exact'"). The resamples of different networks are
independent. In fact, all networks are scored on the same images, so their differences are known somewhat better than
reported. On the other hand, the resamples are centred on the readings, and the lowest of many errors is low partly by
chance, so the confidence is somewhat optimistic.

A study trains each network once (search/claims.py), so the variance between training seeds is unknown. It is included
only if the user provides it. There is no default: the standard deviation between seeds in ThreshBench
(benchmarks.threshbench.table.noise) is six times larger in one table than in the other, so neither value is a good
estimate for a study.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from search.pareto import Points, knee, non_dominated
from search.records import Record, reading
from search.training.metrics import NORMAL_95
from studies.fronts.front import ParetoFront, competitors, nondominated
from studies.fronts.wording import title
from threshnet import strict
from threshnet.errors import InputError, require
from threshnet.strict import Range

Floats = NDArray[np.float64]
Most = Annotated[float, Range(above=0)]
Percent = Annotated[float, Range(0, unit="percent")]
Rule = Literal["lowest error", "fastest", "knee"]

RESAMPLES = 2000  # number of resamples for the confidence
SEED = 0
PRIOR = 2  # number of errors, and of correct answers, that Agresti and Coull add
MAX_OTHERS = 3  # maximum number of alternatives in the report


@dataclass(frozen=True)
class PickRequest:
    """Limits on the picked network (None means no limit), and whether to pick the knee."""

    latency_ms: Annotated[float, Range(above=0, unit="milliseconds")] | None = None
    # Validation error in percent.
    error: Percent | None = None
    params: Most | None = None
    macs: Most | None = None
    knee: bool = False

    def __post_init__(self) -> None:
        strict.check(self)

    @property
    def rule(self) -> Rule:
        """The lowest error if only latency is limited, the fastest if only error is limited, otherwise the knee."""
        if self.knee or (self.latency_ms is None) == (self.error is None):
            return "knee"
        return "lowest error" if self.error is None else "fastest"


@dataclass(frozen=True)
class Limit:
    """A limit on n candidates, with the values of the candidates."""

    # The command-line option.
    flag: str
    # What it limits, in sentences.
    name: str
    at: float
    # The words that precede the lowest value among the candidates.
    lowest: str
    values: Floats
    # Divisor, decimals and unit of a printed value.
    scale: float
    digits: int
    unit: str

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Mask (n,) of the candidates that satisfy the limit."""
        return self.values <= self.at

    @property
    def text(self) -> str:
        """The limit with its unit."""
        return f"{self.at:,g}" if self.counts(self.at) else f"{self.at / self.scale:g}{self.unit}"

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:,.0f}" if self.counts(value) else f"{value / self.scale:.{self.digits}f}{self.unit}"

    def counts(self, value: float) -> bool:
        """True if a value is too small to be printed in its unit of a million."""
        return value < self.scale / 100 and self.scale > 1

    @property
    def excess(self) -> Floats:
        """Relative excess (n,), at most 0 if the limit is satisfied."""
        return (self.values - self.at) / max(self.at, 1e-9)


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the readings of n candidates."""

    # Standard deviation (n,) of the latency below and above the reading, in ms.
    below_ms: Floats
    above_ms: Floats
    # Standard deviation (n,) of the error, in percentage points.
    error: Floats


@dataclass(frozen=True)
class Confidence:
    """The fraction of noisy resamples of the readings in which the rule picks the same network."""

    draws: int
    # Share of the resamples in which the same network is picked, 0 to 1.
    share: float
    # The most frequent alternatives, with their shares.
    others: tuple[tuple[Record, float], ...]
    # Share of the resamples in which no network satisfies the limits.
    none: float


@dataclass(frozen=True)
class PickResult:
    """The picked network of a front, with the reason and a confidence estimate."""

    study: str
    backend: str
    caveat: str
    request: PickRequest
    record: Record
    # Number of feasible trained networks: in total, within the limits on params and MACs, and within all limits.
    feasible: int
    candidates: int
    within: int
    # Number of networks on the front of those within all limits.
    on_front: int
    # The neighbours on the front of the candidates, even if they exceed the limits on latency and error.
    faster: Record | None
    better: Record | None
    # Networks on the front of the candidates whose latency interval contains the latency limit.
    edge: tuple[Record, ...]
    confidence: Confidence
    # Inputs of the confidence: number of validation images, and the standard deviation between training seeds if given.
    validation_images: int
    training_noise: float | None
    # The name of its error in sentences, see ParetoFront.error_name.
    error_name: str


def pick(
    front: ParetoFront, request: PickRequest, validation_images: int, training_noise: float | None = None
) -> PickResult:
    """Pick the network of a front that satisfies `request`. Only validation errors and latencies are used.

    The candidates are the feasible networks within the limits on params and MACs. `training_noise` is the standard
    deviation of an error between training seeds, in percentage points. Raises InputError if no network satisfies the
    limits. The message contains the number of networks that each limit excludes.
    """
    whole = type(validation_images) is int and validation_images > 0
    require(whole, "validation_images", validation_images, "a whole number, at least 1")
    noisy = training_noise is None or (type(training_noise) in (int, float) and 0 <= training_noise <= 100)
    require(noisy, "training_noise", training_noise, "a number of percentage points from 0 to 100")
    feasible = competitors(front.trained)
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
        raise InputError(f"study {front.study!r} on {front.backend}: {excluded(feasible, request)}")
    record, line = candidates[chosen], nondominated(candidates)
    inside = within_limits(points, request)
    noise = noise_of(candidates, validation_images, training_noise or 0.0)
    at = request.latency_ms
    return PickResult(
        study=front.study,
        backend=front.backend,
        caveat=front.caveat,
        request=request,
        record=record,
        feasible=len(feasible),
        candidates=len(candidates),
        within=int(inside.sum()),
        on_front=int(non_dominated(points[inside]).sum()),
        faster=next((one for one in reversed(line) if one.point[0] < record.point[0]), None),
        better=next((one for one in line if one.point[1] < record.point[1]), None),
        edge=tuple(one for one in line if at is not None and reading(one).low_ms < at < reading(one).high_ms),
        confidence=confidence(candidates, chosen, request, noise),
        validation_images=validation_images,
        training_noise=training_noise,
        error_name=front.error_name,
    )


def points_of(candidates: Sequence[Record]) -> Points:
    """Return points (n, 2): latency in ms and error in percent."""
    return np.array([record.point for record in candidates], dtype=np.float64).reshape(-1, 2)


def within_limits(points: Points, request: PickRequest) -> NDArray[np.bool_]:
    """Return a mask (n,) of the points (n, 2) that are within the limits on latency and error."""
    limits = [np.inf if limit is None else limit for limit in (request.latency_ms, request.error)]
    return np.asarray((points <= limits).all(axis=1))


def choose(points: Points, request: PickRequest) -> int | None:
    """Return the index of the point (n, 2) that the rule picks within the limits on latency and error, or None.

    If errors are equal, the faster point wins. If latencies are equal, the more accurate point wins. If points are
    equal, the first one wins.
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
    """Estimate the noise of the readings as described in the module docstring. `training_noise` is in points."""
    readings = [reading(record) for record in candidates]
    middle, low, high = (
        np.array([getattr(one, name) for one in readings]) for name in ("latency_ms", "low_ms", "high_ms")
    )
    images = np.array([record.error_images(validation_images) for record in candidates])
    share = (points_of(candidates)[:, 1] / 100 * images + PRIOR) / (images + 2 * PRIOR)
    binomial = 100 * np.sqrt(share * (1 - share) / (images + 2 * PRIOR))
    return Noise((middle - low) / NORMAL_95, (high - middle) / NORMAL_95, np.hypot(binomial, training_noise))


def confidence(candidates: Sequence[Record], chosen: int, request: PickRequest, noise: Noise) -> Confidence:
    """Resample the readings with a fixed seed and count how often the rule picks `chosen` and the alternatives."""
    points = points_of(candidates)
    normal = np.random.default_rng(SEED).standard_normal((RESAMPLES, 2, len(candidates)))
    latency = points[:, 0] + normal[:, 0] * np.where(normal[:, 0] < 0, noise.below_ms, noise.above_ms)
    error = np.clip(points[:, 1] + normal[:, 1] * noise.error, 0, 100)
    picks = Counter(choose(resampled, request) for resampled in np.stack([latency, error], axis=2))
    others = [(candidates[each], n / RESAMPLES) for each, n in picks.most_common() if each not in (None, chosen)]
    return Confidence(RESAMPLES, picks[chosen] / RESAMPLES, tuple(others[:MAX_OTHERS]), picks[None] / RESAMPLES)


def limits_on(records: Sequence[Record], request: PickRequest) -> list[Limit]:
    """Return the limits of a request in the order of the command-line options."""
    points = points_of(records)
    params, macs = (np.array([record.costs[key] for record in records], dtype=np.float64) for key in ("params", "macs"))
    limits = []
    if request.latency_ms is not None:
        limits.append(
            Limit("--max-latency", "latency", request.latency_ms, "the fastest takes", points[:, 0], 1.0, 3, " ms")
        )
    if request.error is not None:
        limits.append(
            Limit("--max-error", "the error", request.error, "the most accurate has", points[:, 1], 1.0, 2, " %")
        )
    if request.params is not None:
        limits.append(Limit("--max-params", "params", request.params, "the smallest has", params, 1e6, 3, "M"))
    if request.macs is not None:
        limits.append(Limit("--max-macs", "MACs", request.macs, "the lightest has", macs, 1e6, 1, "M"))
    return limits


def exceeded(record: Record, request: PickRequest) -> list[Limit]:
    """Return the limits of a request that a network exceeds."""
    return [limit for limit in limits_on([record], request) if not limit.inside.all()]


def excluded(records: Sequence[Record], request: PickRequest) -> str:
    """Explain why no network is left: how many networks each limit excludes, and the network nearest to the limits."""
    limits, parts = limits_on(records, request), []
    for limit in limits:
        others = [other.inside for other in limits if other is not limit]
        among = limit.values[np.logical_and.reduce(others)] if others else limit.values
        lost = (~limit.inside).sum()
        what = f"the limit of {limit.text} on {limit.name} excludes {lost} of {len(limit.values)}"
        nearest = limit.shown(among.min()) if among.size else ""
        whose = "of those within the other limits " if others else ""
        parts.append(
            f"{what} ({whose}{limit.lowest} {nearest})" if nearest else f"{what} (none satisfies the other limits)"
        )
    at = int(np.argmin(np.max([limit.excess for limit in limits], axis=0)))
    values = " and ".join(limit.shown(limit.values[at]) for limit in limits)
    parts.append(f"the nearest network is {title(records[at])} with {values}")
    return f"no network is left: {'; '.join(parts)}"
