"""The acquisition of a study: its candidates, its box and the cost of a reading."""

from collections.abc import Sequence
from statistics import median

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from search import records
from search.box import Box
from search.claims import latest_trials
from search.samplers.acquisition import Acquisition, Memory, Rungs
from search.samplers.candidates import ERROR_SLOPES, LATENCY_SLOPES, Candidate, TrialCandidates
from search.samplers.features import features_of
from search.task import Task
from search.volume import box_in

MIN_FINISHED = 5  # number of networks to train to the end before any network is pruned because of its latency
READING = 0.05  # cost of a latency in full trainings, before both were timed
NO_BOX = Box(1000.0, 100.0, 0.001)  # before any network is measured


def acquisition_of(
    candidates: Sequence[Candidate], task: Task, box: Box, reading: float, memory: Memory | None = None
) -> Acquisition:
    """Return the acquisition of at least one candidate, in the same order."""
    features = features_of(np.array([each.descriptors for each in candidates]))
    rungs = Rungs(tuple(rung / task.rungs[-1] for rung in task.rungs))
    slopes = features.slopes(LATENCY_SLOPES), features.slopes(ERROR_SLOPES)
    found = Acquisition(features, rungs, box, reading, slopes=slopes, memory=memory)
    for place, each in enumerate(candidates):
        if each.latency_ms:
            found.read(place, each.latency_ms)
        for epochs, error in each.errors.items():
            if epochs in task.rungs:
                found.score(place, task.rungs.index(epochs), error)
        found.open[place] = each.state == "open"
        found.busy[place] = each.state == "busy"
        found.infeasible[place] = not each.feasible
    return found


def box_for(study: Study, task: Task) -> Box:
    """Return the box of a study, or one that holds all networks if none is measured and there is no limit."""
    try:
        return box_in(study, task.objective, task.space.classes, task.limits.latency_ms)
    except ValueError:
        return NO_BOX


def reading_cost(trials: Sequence[FrozenTrial], epochs: int) -> float:
    """Return the cost of measuring a latency in full trainings of this many epochs, from the times of the trials."""
    measured = [trial.user_attrs[records.MEASURING_S] for trial in trials if records.MEASURING_S in trial.user_attrs]
    trained = [trial for trial in trials if records.attributes_of(trial).get(records.EPOCHS)]
    of_epoch = [float(records.attributes_of(trial)[records.EPOCHS][-1]["seconds"]) for trial in trained]
    if not measured or not of_epoch:
        return READING
    return float(median(measured)) / (epochs * max(median(of_epoch), 1e-9))


def ruled_out(acquisition: Acquisition, network: int) -> bool:
    """Return whether a measured network cannot join the front.

    No network is ruled out until MIN_FINISHED feasible networks are trained to the end.
    """
    return int(acquisition.finished.sum()) >= MIN_FINISHED and not acquisition.can_reach(network)


def can_reach(trial_candidates: TrialCandidates, study: Study, task: Task, fingerprint: str) -> bool:
    """Return whether a measured network could join the front of a study, see `ruled_out`."""
    candidates = trial_candidates.candidates(study, latest_trials(study), current=fingerprint)
    (place,) = [place for place, each in enumerate(candidates) if each.fingerprint == fingerprint]
    return not ruled_out(acquisition_of(candidates, task, box_for(study, task), READING), place)
