"""Claims: of all trials with the same network, on any storage, exactly one trains it.

A trial writes down its network and the stopped training that it continues, if any; that is its claim. Then it reads the
other trials. Of two trials with the same claim, each sees the other, unless one had read before the other wrote: that
one is alone with the claim and records that it owns it. A trial yields to an earlier one, and waits for a later one to
record the outcome of its own check. So all that a storage must guarantee is that a write is visible once it is made.
"""

import time
from collections.abc import Iterator

from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState

from search.records import (
    CONTINUES,
    DUPLICATE_OF,
    FINGERPRINT,
    LATENCY_LIMIT,
    LATER,
    MEASURES,
    OWNER,
    REASON,
    RUNGS,
    UNRELIABLE,
    Verdict,
    unfinished,
)

POLL_S = 0.02  # seconds between two checks of a rival
RIVAL_TIMEOUT_S = 60.0  # seconds after which a silent rival counts as dead


def latest_trials(study: Study) -> dict[str, FrozenTrial]:
    """Return the latest trial of each network: the last trial in its chain of continued trials.

    The keys are fingerprints. Duplicates are excluded. Interrupted and lost trials are also excluded, because they may
    be repeated.
    """
    chains: dict[str, dict[int | None, FrozenTrial]] = {}  # {fingerprint: {number of the continued trial: trial}}
    for trial in study.get_trials(deepcopy=False):
        fingerprint, continues = trial.user_attrs.get(FINGERPRINT), trial.user_attrs.get(CONTINUES)
        if fingerprint is None or unfinished(trial) or DUPLICATE_OF in trial.user_attrs:
            continue
        chain = chains.setdefault(fingerprint, {})
        if continues not in chain or OWNER in trial.user_attrs:  # any other trial will yield to the owner
            chain[continues] = trial
    latest: dict[str, FrozenTrial] = {}
    for fingerprint, chain in chains.items():
        last = chain.get(None) or next(iter(chain.values()))
        while (
            last.number in chain
        ):  # the chain may not be in order of the numbers, since a trial is numbered before it proposes
            last = chain[last.number]
        latest[fingerprint] = last
    return latest


def stopped(trial: FrozenTrial) -> bool:
    """Return whether the training of a trial was stopped at a rung and can be resumed."""
    return trial.state is TrialState.PRUNED and RUNGS in trial.user_attrs


def resumable(trial: FrozenTrial, verdict: Verdict) -> bool:
    """Return whether the network of a trial can be trained further, or at all, in another trial.

    It was stopped at a rung, or only measured, or it was not trained because of its latency, which is within the limit
    by the reading that counts now: it was measured again, or rescaled to a later idle baseline.
    """
    reason = str(trial.user_attrs.get(REASON, ""))
    later = trial.state is TrialState.PRUNED and reason.startswith(LATER)
    unreliable = reason.startswith(UNRELIABLE)
    slow = (
        trial.state is TrialState.PRUNED
        and MEASURES not in trial.user_attrs
        and trial.constraints.get(LATENCY_LIMIT, 0.0) > 0
    )
    return stopped(trial) or later or ((unreliable or slow) and verdict.feasible and not verdict.postponed)


def scores(study: Study, fingerprint: str) -> dict[str, float]:
    """Return the validation errors in percent, by epochs trained, at all rungs that trials of the network reached."""
    errors: dict[str, float] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get(FINGERPRINT) == fingerprint:
            errors |= trial.user_attrs.get(RUNGS, {})
    return errors


def claim(trial: Trial, fingerprint: str, continues: FrozenTrial | None) -> FrozenTrial | None:
    """Claim a network, or the remaining training of the trial that it `continues`, for a running trial.

    Returns None if the claim succeeds, otherwise the trial that owns the network.
    """
    if continues is not None:
        trial.set_user_attr(CONTINUES, continues.number)
    trial.set_user_attr(FINGERPRINT, fingerprint)
    began = time.monotonic()
    while True:
        waiting = False
        for rival in _rivals(trial, fingerprint):
            if rival.number < trial.number or OWNER in rival.user_attrs or rival.state.is_finished():
                return rival
            waiting = True
        if not waiting or time.monotonic() - began > RIVAL_TIMEOUT_S:
            trial.set_user_attr(OWNER, True)
            # A rival that was silent for a while may have taken the network in the meantime.
            return next((rival for rival in _rivals(trial, fingerprint) if OWNER in rival.user_attrs), None)
        time.sleep(POLL_S)


def _rivals(trial: Trial, fingerprint: str) -> Iterator[FrozenTrial]:
    """Yield the other trials with the same claim."""
    mine = trial.user_attrs.get(CONTINUES)
    for other in trial.study.get_trials(deepcopy=False):
        attrs = other.user_attrs
        same = attrs.get(FINGERPRINT) == fingerprint and attrs.get(CONTINUES) == mine
        if other.number != trial.number and same and not unfinished(other) and DUPLICATE_OF not in attrs:
            yield other
