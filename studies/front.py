"""The front of a study: which networks nothing beats, and where the named ones stand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from search.audit import Course, course
from search.latency.reading import Latency
from search.pareto import dominators, hypervolume, knee, non_dominated
from search.records import Record, by_end
from search.volume import reference_point, share_percent
from studies.study import Loaded
from threshnet.errors import InputError
from threshnet.named import ABOUT

LATENCY_LIMIT = "latency_ms"  # the constraint that holds on the study's own backend only, see space.Limits


@dataclass(frozen=True)
class NamedPoint:
    """A named network in a study."""

    record: Record
    # Whether it is on the front.
    on_front: bool
    # Discovered feasible networks that dominate it (no slower, no worse, and better in one), the best of them.
    dominated_by: tuple[Record, ...]


@dataclass(frozen=True)
class Front:
    """What a study found, seen from one backend. Reads validation errors and measured latencies, no test field."""

    study: str
    about: str
    caveat: str
    # Where latency was measured, see Latency.backend.
    backend: str
    # Every trained network that was measured there, in the order of the trials, that reading first.
    trained: tuple[Record, ...]
    # Feasible networks that no other feasible one dominates, quickest first.
    front: tuple[Record, ...]
    named: tuple[NamedPoint, ...]
    # The front's knee: the farthest below the line between its ends.
    knee: Record
    # (latency in ms, error in percent), see search.volume.reference_point.
    reference: tuple[float, float]
    # Area between it and the feasible networks, in ms x percent.
    hypervolume: float

    @property
    def share_percent(self) -> float:
        """The hypervolume as a share of the box below the reference point, 0 to 100."""
        return share_percent(self.hypervolume, self.reference)


def backends_of(loaded: Loaded) -> tuple[str, ...]:
    """Where the trained networks of a study were measured, the objective's backend first."""
    return tuple(dict.fromkeys(backend for record in loaded.records if record.trained for backend in record.latency))


def fronts_of(loaded: Loaded) -> tuple[Front, ...]:
    """The front of a study on each of its backends, the objective's first; InputError where no trial was trained."""
    return (front_of(loaded), *(front_of(loaded, backend) for backend in backends_of(loaded)[1:]))


def front_of(loaded: Loaded, backend: str | None = None) -> Front:
    """The front of a study, on the objective's backend or as seen on another, where its latency limit does not hold.

    InputError where no trial was trained or none measured on that backend.
    """
    backends = backends_of(loaded)
    if not backends:
        raise InputError(f"study {loaded.spec.name!r} has no trained network yet; launch it again to go on")
    backend = backends[0] if backend is None else backend
    if backend not in backends:
        there = ", ".join(map(repr, backends))
        raise InputError(f"backend {backend!r}: study {loaded.spec.name!r} was measured on {there}")
    trained = tuple(record for record in loaded.records if record.trained)
    if backend != backends[0]:
        trained = tuple(seen_on(record, backend) for record in trained if backend in record.latency)
    feasible = [record for record in trained if record.state == "finished"]
    front = nondominated(feasible or trained)
    limit = loaded.spec.limits.latency_ms if backend == backends[0] else None
    reference = reference_point(trained, loaded.spec.space.classes, limit)
    return Front(
        study=loaded.spec.name,
        about=loaded.spec.about,
        caveat=_caveat(loaded.spec.caveat, trained),
        backend=backend,
        trained=trained,
        front=tuple(front),
        named=tuple(_named_point(record, front, feasible) for record in trained if record.named),
        knee=front[knee([record.point for record in front])],
        reference=reference,
        hypervolume=hypervolume([record.point for record in feasible], reference),
    )


def reference_of(loaded: Loaded) -> tuple[float, float]:
    """The fixed reference point of a study on the objective's backend; ValueError where no network was trained."""
    return reference_point(loaded.records, loaded.spec.space.classes, loaded.spec.limits.latency_ms)


def ended(loaded: Loaded) -> list[Record]:
    """The trials that have ended, in the order in which they did."""
    return by_end(loaded.study, loaded.records)


def course_of(loaded: Loaded) -> Course:
    """How a study has gone so far, on the objective's backend; ValueError where no network was trained."""
    return course(ended(loaded), reference_of(loaded))


def full_training(loaded: Loaded) -> int:
    """What training one network of a study to its end costs, in image passes."""
    return loaded.spec.recipe.image_passes(int(loaded.images["train"]))


def incomparable(several: Sequence[Loaded]) -> str:
    """Why the volumes of several studies in one box say little of which did better, in words; '' where they do."""
    first = several[0]
    facts: dict[str, list[object]] = {
        "images": [one.images for one in several],
        "limits": [one.spec.limits for one in several],
        "recipes": [one.spec.recipe for one in several],
        "backends": [backends_of(one)[:1] for one in several],
    }
    differing = [name for name, values in facts.items() if any(value != values[0] for value in values)]
    return f"not of one kind with {first.spec.name}, as they differ in {', '.join(differing)}" if differing else ""


def _caveat(given: str, trained: Sequence[Record]) -> str:
    """The study's caveat, and a word on latencies that are not on one scale."""
    scales = {(one.processor, one.runtime_version, one.reference_ms) for one in map(reading, trained)}
    mixed = f"latencies are on {len(scales)} scales: processor, runtime or quiet reference changed between launches"
    return "; ".join(filter(None, [given, mixed if len(scales) > 1 else ""]))


def seen_on(record: Record, backend: str) -> Record:
    """A trained record with that backend's reading as its latency, free of the study's latency limit."""
    latency = record.latency[backend]
    constraints = {name: value for name, value in record.constraints.items() if name != LATENCY_LIMIT}
    return replace(
        record,
        state="infeasible" if any(value > 0 for value in constraints.values()) else "finished",
        latency_ms=latency.latency_ms,
        latency={backend: latency} | record.latency,
        constraints=constraints,
    )


def nondominated(candidates: Sequence[Record]) -> list[Record]:
    """The trained records that no other one dominates, quickest first."""
    mask = non_dominated([record.point for record in candidates])
    return sorted((r for r, keep in zip(candidates, mask, strict=True) if keep), key=lambda record: record.point)


def title(record: Record) -> str:
    """How a network is called in print: its published name, or the number of its trial."""
    return ABOUT[record.named].title if record.named else f"trial {record.number}"


def verdict(point: NamedPoint) -> str:
    """Where a named network stands, in words."""
    over = "" if point.record.state == "finished" else " (over a limit)"
    if point.dominated_by:
        return "dominated by " + ", ".join(title(record) for record in point.dominated_by) + over
    place = "on the front" if point.on_front else "not on the front"
    return f"{place}{over}; no discovered network dominates it"


def reading(record: Record) -> Latency:
    """The latency reading that a record's latency_ms is from."""
    return next(iter(record.latency.values()))


def flag(record: Record) -> str:
    """An exclamation mark where the latency is to be distrusted, as its spread was wide or it never became steady."""
    return " !" if reading(record).warnings else ""


def latency_text(record: Record) -> str:
    """The latency in ms with the interval of its median, flagged where it is to be distrusted."""
    latency = reading(record)
    return f"{latency.latency_ms:.3f} ({latency.low_ms:.3f}-{latency.high_ms:.3f}){flag(record)}"


def conditions(latency: Latency, where: str) -> str:
    """Where and how a latency was measured, in words."""
    texts = [
        where,
        f"{latency.runtime} {latency.runtime_version}, {latency.threads} thread{'s' if latency.threads > 1 else ''}",
        f"batch {latency.batch}",
        f"input {latency.input_size} x {latency.input_size}",
        latency.precision,
    ]
    return "; ".join(texts)


def broken_limits(record: Record) -> str:
    """The limits that a network is over, and by how much, in words."""
    return ", ".join(f"{name} by {100 * excess:.0f} %" for name, excess in record.constraints.items() if excess > 0)


def front_json(front: Front) -> dict[str, Any]:
    """One front as JSON-ready values."""
    return {
        "study": front.study,
        "about": front.about,
        "caveat": front.caveat,
        "backend": front.backend,
        "objectives": {
            "error_percent": "validation error of one training",
            "latency_ms": "ratio to the reference network times its quiet latency, with a 95 % interval",
        },
        "trained": len(front.trained),
        "hypervolume": front.hypervolume,
        "hypervolume_percent": front.share_percent,
        "reference": {"latency_ms": front.reference[0], "error_percent": front.reference[1]},
        "knee": front.knee.number,
        "front": [
            entry(record) | {"spec": record.network.to_json() if record.network else None} for record in front.front
        ],
        "named": [
            entry(point.record)
            | {
                "on_front": point.on_front,
                "feasible": point.record.state == "finished",
                "dominated_by": [record.number for record in point.dominated_by],
            }
            for point in front.named
        ],
    }


def entry(record: Record) -> dict[str, Any]:
    """One trained network as JSON-ready values."""
    latency = reading(record)
    return {
        "trial": record.number,
        "name": title(record),
        "fingerprint": record.fingerprint,
        "error_percent": record.error,
        "latency_ms": record.latency_ms,
        "latency_interval_ms": [latency.low_ms, latency.high_ms],
        "latency_relative_iqr": latency.relative_iqr,
        "latency_warnings": list(latency.warnings),
        "params": record.costs["params"],
        "macs": record.costs["macs"],
        "schedule": record.schedule,
    }


def _named_point(record: Record, front: Sequence[Record], feasible: Sequence[Record]) -> NamedPoint:
    discovered = [other for other in feasible if not other.named]
    beaten_by = dominators([other.point for other in discovered], record.point)
    best = nondominated([discovered[index] for index in beaten_by])
    return NamedPoint(record=record, on_front=record in front, dominated_by=tuple(best))
