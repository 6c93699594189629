"""The progress of a study: the hypervolume of the front over the cost, relative to a fixed reference point."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.pareto import hypervolume, non_dominated
from search.records import Record, reading

REFERENCE_MARGIN = 1.1  # ratio of the reference latency to the latency of the slowest network that determines it
FIRST_TRAINED = 5  # number of trained networks that determine the reference latency if there are no named networks
PLATEAU_GROWTH = 0.5  # percent; a front has plateaued if its hypervolume grew by less over the last third of the cost
PLATEAU_TRAININGS = 10  # minimum number of trainings in the last third for judging if a front has plateaued


@dataclass(frozen=True)
class Step:
    """The hypervolume when a training ended."""

    # Number of the trial.
    trial: int
    # Number of training images processed by the study so far. An image counts once per epoch.
    image_passes: int
    # The area between the front and the reference point, in ms x percent.
    hypervolume: float
    # The hypervolume as a percentage of the box between the origin and the reference point, 0 to 100.
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


def reference_point(records: Sequence[Record], classes: int, limit_ms: float | None = None) -> tuple[float, float]:
    """Return the reference point (latency in ms, error in percent) for the hypervolume of a study.

    The reference latency is the latency limit of the study. If there is no limit, it is REFERENCE_MARGIN times the
    latency of the slowest named network, without models of other libraries. If there are no named networks, the slowest
    of the first FIRST_TRAINED trained networks is used instead, with `records` in trial order. The reference error is
    chance level. The point is therefore fixed once these networks are measured, until some of them are measured again
    at the end of the study. Raises ValueError if there is neither a
    limit nor a measured named network nor a trained network.
    """
    error = 100 * (1 - 1 / classes)
    if limit_ms is not None:
        return float(limit_ms), error
    ours = [record for record in records if record.model is None]
    named = [reading(record).latency_ms for record in ours if record.named and record.latency]
    trained = [record.point[0] for record in ours if record.trained]
    setting = named or trained[:FIRST_TRAINED]
    if not setting:
        raise ValueError("no latency limit and no trained network, so no reference point")
    return REFERENCE_MARGIN * max(setting), error


def feasible_hypervolume(records: Sequence[Record], reference: tuple[float, float]) -> float:
    """Return the hypervolume of the trained feasible networks, in ms x percent."""
    points = [record.point for record in records if record.competes]
    return hypervolume(points, reference) if points else 0.0


def share_percent(volume: float, reference: tuple[float, float]) -> float:
    """Return a hypervolume as a percentage of the box between the origin and the reference point, 0 to 100."""
    return 100 * volume / (reference[0] * reference[1])


def curve(records: Sequence[Record], reference: tuple[float, float]) -> tuple[Step, ...]:
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
            volume = max(
                volume, hypervolume(points, reference)
            )  # so that rounding errors do not decrease the hypervolume
        elif record.state not in ("finished", "infeasible", "stopped"):
            continue
        steps.append(Step(record.number, passes, volume, share_percent(volume, reference)))
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
