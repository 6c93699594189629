"""What a study can say about itself: whether its front still moves, and how well its early errors foretold the last."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy.stats import kendalltau

from search.records import Record
from search.volume import Plateau, Step, curve, plateau, plural

FEWEST = 3  # networks; fewer have no tau worth the name


@dataclass(frozen=True)
class Convergence:
    """How well what is known early ranks networks as their final error does, by Kendall's tau-b.

    Each tau is from -1 to 1, where 1 is a perfect predictor; None where there are fewer than FEWEST networks or all
    values are equal.
    """

    # The lowest rung and the last, in epochs; None where trainings are not scored before their end.
    rung: int | None
    top: int | None
    # How many networks the taus are about: those trained to their end, if there are rungs with an error at both.
    networks: int
    # Of the error at the lowest rung; of params and of MACs, the fewer of which are taken to foretell more error.
    rung_tau: float | None
    params_tau: float | None
    macs_tau: float | None
    # Networks that were stopped early and never trained to their end: nothing is known of their final errors.
    missing: int

    @property
    def told(self) -> str:
        """The audit in a sentence."""
        stop = f"; {plural(self.missing, 'network')} stopped early {'is' if self.missing == 1 else 'are'} missing, "
        missing = f"{stop}so it is about the survivors alone" if self.missing else ""
        if self.networks < FEWEST:
            have = plural(self.networks, "network")
            return f"Self-audit: {have} trained to the end, too few to rank by what was known early{missing}."
        early = f"error after {self.rung} of {self.top} epochs {_shown(self.rung_tau)}, " if self.rung else ""
        return (
            f"Self-audit, Kendall's tau with the final error (1 is a perfect predictor), n = {self.networks} networks: "
            f"{early}params {_shown(self.params_tau)}, MACs {_shown(self.macs_tau)}; unrelated numbers stay within "
            f"{chance(self.networks):.2f} of 0 in 95 % of cases{missing}."
        )


@dataclass(frozen=True)
class StudyProgress:
    """The progress of a study: its hypervolume over cost, and how well early figures rank networks."""

    # (latency in ms, error in percent), the fixed reference point of the hypervolume.
    reference: tuple[float, float]
    # The hypervolume after each trial, in the order in which they ended.
    curve: tuple[Step, ...]
    plateau: Plateau
    convergence: Convergence
    # How many networks were stopped, by the epochs trained, and never trained to their end.
    stopped: dict[int, int]

    @property
    def told(self) -> tuple[str, ...]:
        """A sentence each; nothing of stopped networks where there are none."""
        parts = [f"{plural(count, 'network')} after {plural(at, 'epoch')}" for at, count in self.stopped.items()]
        stopped = (f"Stopped early: {', '.join(parts)}.",) if parts else ()
        return (self.plateau.told, self.convergence.told, *stopped)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, the sentences included."""
        return {
            "plateau": asdict(self.plateau) | {"told": self.plateau.told},
            "audit": asdict(self.convergence) | {"told": self.convergence.told},
            "stopped": {str(epochs): count for epochs, count in self.stopped.items()},
        }


def progress(records: Sequence[Record], reference: tuple[float, float]) -> StudyProgress:
    """The progress of a study, from its records in the order in which they ended and its reference point."""
    steps = tuple(curve(records, reference))
    return StudyProgress(reference, steps, plateau(steps), convergence(records), stopped_at(records))


def convergence(records: Sequence[Record]) -> Convergence:
    """How well the lowest rung's error, params and MACs rank networks (tau-b: Kendall, 1945, as scipy computes it)."""
    trained = [record for record in records if record.trained]
    rungs = {epochs for record in records if len(record.rungs) > 1 or not record.trained for epochs in record.rungs}
    lowest = min(rungs, default=None)
    if lowest is not None:
        trained = [record for record in trained if lowest in record.rungs and len(record.rungs) > 1]
    errors = [record.point[1] for record in trained]
    return Convergence(
        rung=lowest,
        top=max((max(record.rungs) for record in trained), default=None) if lowest is not None else None,
        networks=len(trained),
        rung_tau=None if lowest is None else tau([record.rungs[lowest] for record in trained], errors),
        params_tau=tau([-record.costs["params"] for record in trained], errors),
        macs_tau=tau([-record.costs["macs"] for record in trained], errors),
        missing=sum(stopped_at(records).values()),
    )


def stopped_at(records: Sequence[Record]) -> dict[int, int]:
    """How many networks were stopped and not trained to their end since, by the epochs trained, fewest first."""
    done = {record.fingerprint for record in records if record.trained}
    last: dict[str | None, int] = {}
    for record in records:
        if record.state == "stopped" and record.fingerprint not in done:
            last[record.fingerprint] = max(*record.rungs, last.get(record.fingerprint, 0))
    return dict(sorted(Counter(last.values()).items()))


def tau(predictor: Sequence[float], errors: Sequence[float]) -> float | None:
    """Kendall's tau-b, -1 to 1; None for fewer than FEWEST pairs or where all values of a side are equal."""
    if len(errors) < FEWEST or len(set(predictor)) < 2 or len(set(errors)) < 2:
        return None
    return float(kendalltau(predictor, errors).statistic)


def chance(networks: int) -> float:
    """Below which |tau| of so many unrelated pairs stays in 95 % of cases: 1.96 of its standard deviations.

    Kendall, 1938, "A new measure of rank correlation": variance 2 (2 n + 5) / (9 n (n - 1)); at most 1.
    """
    variance = 2 * (2 * networks + 5) / (9 * networks * (networks - 1))
    return min(1.0, 1.96 * math.sqrt(variance))


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
