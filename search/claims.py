"""Who may train a network: one trial among all workers, whatever the storage.

A trial writes down which network it stands for and which stopped training it goes on with; that is its claim. Then it
looks at the others. Of two trials with one claim each sees the other, unless one of them had looked before the other
wrote: that one had the claim for itself and says so. A trial gives way to one that came before it, and waits for one
that came after it to say how its own look ended. So a storage needs no more than that writes are seen once made.
"""

import time
from collections.abc import Iterator

from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState

from search.records import CONTINUES, DUPLICATE_OF, FINGERPRINT, OWNER, RUNGS, unfinished

POLL_S = 0.02  # between two looks at a rival
PATIENCE_S = 60.0  # a rival that says nothing for so long has died


def latest_trials(study: Study) -> dict[str, FrozenTrial]:
    """The trial that tells how each network stands, by fingerprint: the last in line of those that go on with another.

    Duplicates are left out, and interrupted and lost trials, which may be repeated.
    """
    lines: dict[str, dict[int | None, FrozenTrial]] = {}  # of each network, by what the trials go on with
    for trial in study.get_trials(deepcopy=False):
        fingerprint, continues = trial.user_attrs.get(FINGERPRINT), trial.user_attrs.get(CONTINUES)
        if fingerprint is None or unfinished(trial) or DUPLICATE_OF in trial.user_attrs:
            continue
        line = lines.setdefault(fingerprint, {})
        if continues not in line or OWNER in trial.user_attrs:  # another one will give way to the owner
            line[continues] = trial
    latest: dict[str, FrozenTrial] = {}
    for fingerprint, line in lines.items():
        last = line.get(None) or next(iter(line.values()))
        while last.number in line:  # numbers do not tell the order: a trial gets its own before it proposes
            last = line[last.number]
        latest[fingerprint] = last
    return latest


def stopped(trial: FrozenTrial) -> bool:
    """Whether a trial's training was stopped at a rung and may be gone on with."""
    return trial.state is TrialState.PRUNED and RUNGS in trial.user_attrs


def scores(study: Study, fingerprint: str) -> dict[str, float]:
    """Validation errors in percent by epochs trained, at every rung that any trial of the network reached."""
    found: dict[str, float] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get(FINGERPRINT) == fingerprint:
            found |= trial.user_attrs.get(RUNGS, {})
    return found


def claim(trial: Trial, fingerprint: str, continues: FrozenTrial | None) -> FrozenTrial | None:
    """Claim a network for a running trial, or what is left of the training that it `continues`.

    None if the claim stands; else the trial that has it.
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
        if not waiting or time.monotonic() - began > PATIENCE_S:
            trial.set_user_attr(OWNER, True)
            # A rival that had fallen silent may have taken the network in the meantime.
            return next((rival for rival in _rivals(trial, fingerprint) if OWNER in rival.user_attrs), None)
        time.sleep(POLL_S)


def _rivals(trial: Trial, fingerprint: str) -> Iterator[FrozenTrial]:
    """Other trials with the same claim."""
    mine = trial.user_attrs.get(CONTINUES)
    for other in trial.study.get_trials(deepcopy=False):
        attrs = other.user_attrs
        same = attrs.get(FINGERPRINT) == fingerprint and attrs.get(CONTINUES) == mine
        if other.number != trial.number and same and not unfinished(other) and DUPLICATE_OF not in attrs:
            yield other
