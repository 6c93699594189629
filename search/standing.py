"""The standing of a study while it runs: its trials by state, the lowest errors so far and the hypervolume."""

from dataclasses import dataclass

from optuna import Study

from search.records import Record, record
from search.volume import feasible_hypervolume, reference_point, share_percent

SHARES = (0.25, 0.5, 1.0)  # of the reference latency, for the lowest errors so far


@dataclass(frozen=True)
class Standing:
    """The standing of a study."""

    # Number of trials that count towards the size of the study, and this size.
    counted: int
    trials: int
    # Share of the study that is done, 0 to 1: of its trials or of its budget, whichever is larger.
    done: float
    # Trials that continued the training of a network that was stopped at a rung.
    resumed: int
    # Trials whose network was pruned before training or stopped at a rung, without the measurements of named networks.
    pruned: int
    failed: int
    # Lowest error in percent of the feasible networks within each latency in ms; None if there is no such network.
    best: tuple[tuple[float, float | None], ...]
    # Hypervolume in percent of the box below the reference point. None without trained networks.
    hypervolume_percent: float | None


class Standings:
    """Computes the standing of a study after each trial, and parses each trial only once.

    `trials` is the size of the study. `classes` and `limit_ms`, the latency limit, set the reference point.
    """

    def __init__(self, study: Study, trials: int, classes: int, limit_ms: float | None) -> None:
        self.study, self.trials, self.classes, self.limit_ms = study, trials, classes, limit_ms
        self.ended: dict[int, Record] = {}

    def now(self, counted: int, spent: float) -> Standing:
        """Return the standing. `spent` is the share of the budget that is spent, 0 without a budget."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in self.ended:
                self.ended[trial.number] = record(trial)
        records = [self.ended[number] for number in sorted(self.ended)]
        points = [each.point for each in records if each.competes]
        limits_ms: tuple[float, ...] = ()
        volume = None
        if any(each.trained for each in records):
            reference = reference_point(records, self.classes, self.limit_ms)
            limits_ms = tuple(share * reference[0] for share in SHARES)
            volume = share_percent(feasible_hypervolume(records, reference), reference)
        return Standing(
            counted=counted,
            trials=self.trials,
            done=min(1.0, max(counted / self.trials, spent)),
            resumed=sum(each.continues is not None and not each.named for each in records),
            pruned=sum(each.state in ("stopped", "not trained") and not each.named for each in records),
            failed=sum(each.state == "failed" for each in records),
            best=tuple((most, min((error for ms, error in points if ms <= most), default=None)) for most in limits_ms),
            hypervolume_percent=volume,
        )
