"""The progress of a study: the hypervolume of the front over the cost, relative to the box of the study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.trial import TrialState

from search import records as trials
from search.box import Box, Latencies, Objective, box_around
from search.pareto import non_dominated
from search.records import Record, reading

PLATEAU_GROWTH = 0.5  # percent; a front has plateaued if its hypervolume grew by less over the last third of the cost
PLATEAU_TRAININGS = 10  # minimum number of trainings in the last third for judging if a front has plateaued


@dataclass(frozen=True)
class Step:
    """The hypervolume when a training ended."""

    # Number of the trial.
    trial: int
    # Number of training images processed by the study so far. An image counts once per epoch.
    image_passes: int
    # The area of the box that the front dominates: ln(ms) x percent, or ms x percent if the axis is linear.
    hypervolume: float
    # The hypervolume in percent of the box, 0 to 100.
    share_percent: float


@dataclass(frozen=True)
class Plateau:
    """The growth of a front, judged by the last third of the training images processed by the study."""

    # Whether the front has plateaued.
    reached: bool
    # Relative growth of the hypervolume over the last third. None if the hypervolume was 0 at the start of the last
    # third.
    growth_percent: float | None
    # Number of trainings that finished or stopped at a rung in the last third. A resumed network may count twice.
    over_networks: int
    # Number of training images processed in the last third and in the whole study.
    over_passes: int
    image_passes: int

    @property
    def summary(self) -> str:
        """Describe the growth in a sentence."""
        last = f"the last {plural(self.over_networks, 'training')}"
        last += f" ({self.over_passes:,} of {self.image_passes:,} training images processed)"
        if self.growth_percent is None:
            return f"Too early to judge whether the front has plateaued: it was empty before {last}."
        growth = f"hypervolume grew by {self.growth_percent:.2f} % over {last}"
        if self.reached:
            return f"The front has plateaued: {growth}."
        if self.growth_percent >= PLATEAU_GROWTH:
            return f"The front is still improving: {growth}."
        recent = plural(self.over_networks, "recent training")
        return f"Too early to judge whether the front has plateaued: {recent}, {PLATEAU_TRAININGS} needed."


def box_of(
    records: Sequence[Record], objective: Objective, class_images: Sequence[int], limit_ms: float | None = None
) -> Box:
    """Return the box of a study, given its records in trial order. Raises ValueError as `box_around` does.

    `class_images` are the numbers of validation images by class, see `class_images_of`. The upper edge of the latency
    does not change once the networks that determine it are measured, until some of them are measured again at the end
    of the study. The lower edge decreases if a faster network is measured, unless the objective sets it.
    """
    return box_around(latencies_of(records), objective, class_images, limit_ms)


def box_in(study: Study, objective: Objective, classes: int, limit_ms: float | None = None) -> Box:
    """Return the box of a running study, the same as `box_of`, without parsing networks and readings.

    A sampler can call this before each decision. Raises ValueError as `box_around` does.
    """
    attrs = study._storage.get_study_user_attrs(study._study_id)
    return box_around(latencies_in(study), objective, class_images_of(attrs, classes), limit_ms)


def latencies_of(records: Sequence[Record]) -> Latencies:
    """Return the latencies that determine the box of a study, given its records in trial order.

    A network that is not expected to reach the front violates a constraint, so it is not feasible.
    """
    own = [record for record in records if record.model is None and record.state != "duplicate"]
    ours = [(record, ms) for record in own if (ms := _latency_ms(record)) is not None]
    return Latencies(
        named=tuple(ms for record, ms in ours if record.named),
        trained=tuple(ms for record, ms in ours if record.trained),
        feasible=tuple(ms for record, ms in ours if record.feasible and not record.postponed),
    )


def latencies_in(study: Study) -> Latencies:
    """Return the latencies that determine the box of a study. The result is the same as that of `latencies_of`."""
    again, found = trials.remeasured(study), study.get_trials(deepcopy=False)
    # A network that the search found before it was named has its name in the trial of the duplicate.
    renamed = {trial.user_attrs.get(trials.DUPLICATE_OF) for trial in found if trial.user_attrs.get(trials.NAMED)}
    named: list[float] = []
    trained: list[float] = []
    feasible: list[float] = []
    for trial in found:
        verdict = trials.verdict(trial, again.get(trial.number, {}))
        latency_ms = verdict.latency_ms or (trial.values[1] if trial.values else None)
        if latency_ms is None or trials.MODEL in trial.user_attrs or trials.DUPLICATE_OF in trial.user_attrs:
            continue
        if trial.user_attrs.get(trials.NAMED) or trial.number in renamed:
            named.append(latency_ms)
        if trial.state is TrialState.COMPLETE:
            trained.append(latency_ms)
        if verdict.feasible and not verdict.postponed:
            feasible.append(latency_ms)
    return Latencies(tuple(named), tuple(trained), tuple(feasible))


def _latency_ms(record: Record) -> float | None:
    """Return the latency of a record, trained or not, by the reading that counts; None if it was not measured."""
    if record.latency_ms is None and record.latency:
        return reading(record).latency_ms
    return record.latency_ms


def class_images_of(attrs: Mapping[str, Any], classes: int) -> tuple[int, ...]:
    """Return the number of validation images of each class, given the user attributes of a study.

    Studies of earlier versions do not record these numbers. Their classes count as equally frequent.
    """
    counts = attrs.get(trials.CLASS_COUNTS)
    return tuple(counts["validation"]) if counts else (1,) * classes


def feasible_hypervolume(records: Sequence[Record], box: Box) -> float:
    """Return the hypervolume of the trained feasible networks in a box, in the unit of the box."""
    return box.hypervolume([record.point for record in records if record.competes])


def curve(records: Sequence[Record], box: Box) -> tuple[Step, ...]:
    """Return the hypervolume after each training; `records` must be in the order in which they ended.

    The cost is the number of training images processed. Only feasible networks that were trained to the end add to the
    hypervolume. All trials, including failed trials, add to the cost. Duplicates and unfinished trials are skipped.
    """
    steps: list[Step] = []
    points: list[tuple[float, float]] = []
    passes, volume = 0, 0.0
    for record in records:
        if record.state in ("duplicate", "running", "waiting"):
            continue
        passes += record.image_passes
        if record.competes:
            points.append(record.point)
            points = [point for point, keep in zip(points, non_dominated(points), strict=True) if keep]
            volume = max(volume, box.hypervolume(points))  # so that rounding errors do not decrease the hypervolume
        elif record.state not in ("finished", "infeasible", "stopped"):
            continue
        steps.append(Step(record.number, passes, volume, box.percent(volume)))
    return tuple(steps)


def plateau(steps: Sequence[Step]) -> Plateau:
    """Judge whether the front has plateaued, i.e. grew by less than PLATEAU_GROWTH over the last third of the cost.

    A front can only plateau if there are at least PLATEAU_TRAININGS trainings in the last third.
    """
    total = steps[-1].image_passes if steps else 0
    before = [step for step in steps if 3 * step.image_passes <= 2 * total]
    start = before[-1] if before else Step(-1, 0, 0.0, 0.0)
    growth = 100 * (steps[-1].hypervolume / start.hypervolume - 1) if start.hypervolume > 0 else None
    ended = len(steps) - len(before)
    return Plateau(
        reached=growth is not None and growth < PLATEAU_GROWTH and ended >= PLATEAU_TRAININGS,
        growth_percent=growth,
        over_networks=ended,
        over_passes=total - start.image_passes,
        image_passes=total,
    )


def plural(number: int, noun: str) -> str:
    """Return a number and its noun, e.g. "1 network" or "2 networks"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
