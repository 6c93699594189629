"""The Pareto front of a study: the networks that no other network dominates, and the named networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.box import Box
from search.pareto import dominators, knee, non_dominated
from search.records import Record, reading, seen_on
from search.training.metrics import METRICS
from search.volume import box_of, feasible_hypervolume
from studies.study import LoadedStudy, backends_of, require_trained, study_box
from threshnet.errors import InputError


@dataclass(frozen=True)
class NamedPoint:
    """A named network and its position relative to the front."""

    record: Record
    # True if the named network is on the front. A model of another library never is.
    on_front: bool
    # The nondominated ones among the discovered feasible networks that dominate it. A network dominates another if it
    # is no worse in error and latency and better in at least one of them.
    dominated_by: tuple[Record, ...]


@dataclass(frozen=True)
class ParetoFront:
    """The Pareto front of a study on one backend, from validation errors and measured latencies without test errors."""

    study: str
    about: str
    caveat: str
    # The backend on which latency was measured, see Latency.backend.
    backend: str
    # All trained networks that were measured on this backend, in the order of trials. This reading comes first.
    trained: tuple[Record, ...]
    # The feasible networks that no other feasible network dominates, fastest first.
    front: tuple[Record, ...]
    named: tuple[NamedPoint, ...]
    # The network that is picked without limits: the knee, or the fastest network of a front that has no knee.
    picked: Record
    # The box of the hypervolume.
    box: Box
    # Hypervolume of the feasible networks: ln(ms) x percent, or ms x percent if the box is linear.
    hypervolume: float
    # The error that the study minimizes, see METRICS.
    metric: str = "error"

    @property
    def knee(self) -> Record | None:
        """The knee: the point farthest below the line between the ends. None if the front has no knee, see has_knee."""
        return self.picked if has_knee(len(self.front)) else None

    @property
    def error_name(self) -> str:
        """The name of its errors in sentences: "validation error", or "balanced validation error"."""
        return f"{METRICS[self.metric].prefix}validation error"

    @property
    def share_percent(self) -> float:
        """Hypervolume in percent of the box."""
        return self.box.percent(self.hypervolume)

    @property
    def linear_hypervolume(self) -> float:
        """Hypervolume on a linear latency axis from 0 ms, in ms x percent."""
        return feasible_hypervolume(self.trained, self.box.linear)

    @property
    def linear_share_percent(self) -> float:
        """Hypervolume on a linear latency axis, in percent of the box from 0 ms."""
        return self.box.linear.percent(self.linear_hypervolume)


def has_knee(networks: int) -> bool:
    """True if a front of this many networks has a knee. The networks of a smaller front are all ends of it."""
    return networks > 2


def fronts_of(loaded: LoadedStudy) -> tuple[ParetoFront, ...]:
    """Return a study's front on each backend, the objective's first. Raises InputError if no network is trained."""
    return (front_of(loaded), *(front_of(loaded, backend) for backend in backends_of(loaded)[1:]))


def front_of(loaded: LoadedStudy, backend: str | None = None) -> ParetoFront:
    """Return a study's front on the objective's backend, or on `backend` if given.

    The latency limit and the lower edge of the box are latencies on the objective's backend, so they do not apply to
    other backends. Raises InputError if no network is trained, or if no network was measured on the backend.
    """
    require_trained(loaded)
    backends = backends_of(loaded)
    backend = backends[0] if backend is None else backend
    if backend not in backends:
        there = ", ".join(map(repr, backends))
        raise InputError(f"backend {backend!r}: study {loaded.spec.name!r} was measured on {there}")
    if backend == backends[0]:
        seen, box = loaded.records, study_box(loaded)
    else:
        seen = [seen_on(record, backend) for record in loaded.records if backend in record.latency]
        box = box_of(seen, replace(loaded.spec.objective, min_latency_ms=None), loaded.class_images)
    trained = tuple(record for record in seen if record.trained)
    feasible = competitors(trained)
    front = nondominated(feasible or [record for record in trained if record.model is None] or trained)
    return ParetoFront(
        study=loaded.spec.name,
        about=loaded.spec.about,
        caveat=_caveat(loaded.spec.caveat, trained),
        backend=backend,
        trained=trained,
        front=tuple(front),
        named=tuple(_named_point(record, front, feasible) for record in trained if record.named),
        picked=front[knee([record.point for record in front])],
        box=box,
        hypervolume=feasible_hypervolume(trained, box),
        metric=loaded.spec.metric,
    )


def competitors(trained: Sequence[Record]) -> list[Record]:
    """Return the trained networks that can be on a front.

    If the latency of none of them is reliable, these are the feasible ones, whose latencies are marked with !.
    """
    reliable = [record for record in trained if record.competes]
    return reliable or [record for record in trained if record.state == "finished" and record.model is None]


def _caveat(given: str, trained: Sequence[Record]) -> str:
    """Return the study's caveat and, if its latencies are not comparable with each other, a warning."""
    scales = {(one.processor, one.runtime_version, one.reference_ms) for one in map(reading, trained)}
    mixed = f"latencies are on {len(scales)} scales: host, processor, runtime or idle baseline differ between launches"
    return "; ".join(filter(None, [given, mixed if len(scales) > 1 else ""]))


def nondominated(candidates: Sequence[Record]) -> list[Record]:
    """Return the trained records that no other record dominates, fastest first."""
    mask = non_dominated([record.point for record in candidates])
    return sorted((r for r, keep in zip(candidates, mask, strict=True) if keep), key=lambda record: record.point)


def _named_point(record: Record, front: Sequence[Record], feasible: Sequence[Record]) -> NamedPoint:
    discovered = [other for other in feasible if not other.named]
    beaten_by = dominators([other.point for other in discovered], record.point)
    best = nondominated([discovered[index] for index in beaten_by])
    return NamedPoint(record=record, on_front=record in front, dominated_by=tuple(best))
