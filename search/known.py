"""The networks that a study has seen, as candidates for what to train next."""

from collections.abc import Collection

from optuna.trial import FrozenTrial

from search import records
from search.claims import stopped
from search.outlook import Candidate, Outlook, describe
from search.task import Task
from threshnet.spec import NetworkSpec

LEARNT = 5  # networks trained to the end before any other is turned away for its latency


class Known:
    """Trials as candidates; a network is described once."""

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size
        self.described: dict[str, tuple[float, ...]] = {}

    def candidates(self, trials: Collection[FrozenTrial], asking: str | None = None) -> list[Candidate]:
        """The networks of these trials, one each, as far as their costs are known; the one that is `asking` is open."""
        return [self._candidate(trial, asking) for trial in trials if records.COSTS in trial.user_attrs]

    def can_reach(self, trials: Collection[FrozenTrial], task: Task, fingerprint: str) -> bool:
        """Whether a measured network could join the front of these trials; True while too little is known."""
        known = self.candidates(trials, fingerprint)
        if sum(task.rungs[-1] in each.errors for each in known if each.feasible) < LEARNT:
            return True
        (place,) = [place for place, each in enumerate(known) if each.fingerprint == fingerprint]
        return Outlook(known, task.rungs, task.limits.latency_ms).can_reach(place)

    def _candidate(self, trial: FrozenTrial, asking: str | None) -> Candidate:
        attrs = trial.user_attrs
        name = attrs[records.FINGERPRINT]
        if name not in self.described:
            self.described[name] = describe(network(trial), self.input_size)
        return Candidate(
            fingerprint=name,
            descriptors=self.described[name],
            latency_ms=attrs.get(records.LATENCY_MS),
            feasible=all(excess <= 0 for excess in trial.constraints.values()),
            errors=errors_of(trial),
            state="open" if name == asking or stopped(trial) else "closed" if trial.state.is_finished() else "busy",
        )


def errors_of(trial: FrozenTrial) -> dict[int, float]:
    """Validation errors in percent by epochs trained."""
    return {int(epochs): error for epochs, error in trial.user_attrs.get(records.RUNGS, {}).items()}


def network(trial: FrozenTrial) -> NetworkSpec:
    """The network that a trial stands for."""
    return NetworkSpec.from_json(trial.user_attrs[records.NETWORK])
