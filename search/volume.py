"""How far a study has come: the hypervolume of its front below a fixed point, over what the search has cost so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.pareto import hypervolume, non_dominated
from search.records import Record

MARGIN = 1.1  # the box ends at so many times the slowest of the networks that set its latency
FIRST = 5  # how many trained networks set the latency where none is named
GROWTH = 0.5  # percent; a front whose volume grew by less over the last third of its cost no longer moves
PATIENCE = 10  # networks that must have ended in that third for such a judgement


@dataclass(frozen=True)
class Step:
    """How things stood when a training ended."""

    # Number of the trial.
    trial: int
    # Training images that the study has seen so far, repetitions counted.
    image_passes: int
    # Area between the front and the reference point, in ms x percent.
    hypervolume: float
    # The same as a share of the box between the origin and the reference point, 0 to 100.
    share_percent: float


@dataclass(frozen=True)
class Plateau:
    """Whether a front still moves, judged by the last third of the image passes that its study has cost."""

    reached: bool
    # By how much the hypervolume grew over it, relative to what it was; None where it was 0.
    growth_percent: float | None
    # Trainings that ended in it, at their end or at a rung; a network that was gone on with may count twice.
    over_networks: int
    # Image passes since the last training that ended before it, and of the whole study.
    over_passes: int
    image_passes: int

    @property
    def told(self) -> str:
        """The judgement in a sentence."""
        last = f"the last {plural(self.over_networks, 'training')}"
        last += f" ({self.over_passes:,} of {self.image_passes:,} image passes)"
        if self.growth_percent is None:
            return f"Too early to say whether the front still moves: it was empty before {last}."
        grew = f"its hypervolume grew by {self.growth_percent:.2f} % over {last}"
        if self.reached:
            return f"The front no longer moves: {grew}."
        if self.growth_percent >= GROWTH:
            return f"The front still moves: {grew}."
        return f"Too early to say whether the front still moves: {grew}, fewer than {PATIENCE}."


def reference_point(records: Sequence[Record], classes: int, limit_ms: float | None = None) -> tuple[float, float]:
    """The corner (latency in ms, error in percent) of the box in which a study's hypervolume is taken.

    Its latency is the study's limit; without one, MARGIN times the slowest trained named network; without a named
    network, MARGIN times the slowest of the FIRST that were trained (`records` in trial order). Its error is a blind
    guess's. So it stays where it is once those are trained. ValueError where there is neither a limit nor a network.
    """
    error = 100 * (1 - 1 / classes)
    if limit_ms is not None:
        return float(limit_ms), error
    trained = [record for record in records if record.trained]
    setting = [record for record in trained if record.named] or trained[:FIRST]
    if not setting:
        raise ValueError("no latency limit and no trained network, so no reference point")
    return MARGIN * max(record.point[0] for record in setting), error


def share_percent(volume: float, reference: tuple[float, float]) -> float:
    """A hypervolume as a share of the box between the origin and the reference point, 0 to 100."""
    return 100 * volume / (reference[0] * reference[1])


def curve(records: Sequence[Record], reference: tuple[float, float]) -> tuple[Step, ...]:
    """The hypervolume after each training, over the image passes so far; `records` in the order in which they ended.

    Only feasible networks trained to their end count for the volume; every trial of its own counts for the cost, also
    one that failed. Duplicates and trials that have not ended are left out.
    """
    steps: list[Step] = []
    points: list[tuple[float, float]] = []
    passes, volume = 0, 0.0
    for record in records:
        if record.state in ("duplicate", "running", "waiting"):
            continue
        passes += record.image_passes
        if record.state == "finished":
            points.append(record.point)
            points = [point for point, keep in zip(points, non_dominated(points), strict=True) if keep]
            volume = max(volume, hypervolume(points, reference))  # rounding must not make it fall
        elif record.state not in ("infeasible", "stopped"):
            continue
        steps.append(Step(record.number, passes, volume, share_percent(volume, reference)))
    return tuple(steps)


def plateau(steps: Sequence[Step]) -> Plateau:
    """Whether the front no longer moves: less than GROWTH over the last third of the cost, PATIENCE trainings in it."""
    total = steps[-1].image_passes if steps else 0
    before = [step for step in steps if 3 * step.image_passes <= 2 * total]
    start = before[-1] if before else Step(-1, 0, 0.0, 0.0)
    growth = 100 * (steps[-1].hypervolume / start.hypervolume - 1) if start.hypervolume > 0 else None
    ended = len(steps) - len(before)
    return Plateau(
        reached=growth is not None and growth < GROWTH and ended >= PATIENCE,
        growth_percent=growth,
        over_networks=ended,
        over_passes=total - start.image_passes,
        image_passes=total,
    )


def plural(number: int, noun: str) -> str:
    """A number of things in words, e.g. "1 network", "2 networks"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
