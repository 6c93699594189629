"""The acquisition of a study: its candidates, its box and the cost of a reading."""

from collections.abc import Sequence
from statistics import median

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from search import records
from search.box import Box
from search.claims import latest_trials
from search.samplers.acquisition import Acquisition, Rungs
from search.samplers.candidates import ERROR_SLOPES, LATENCY_SLOPES, Candidate, TrialCandidates, descriptors_of
from search.samplers.features import features_of
from search.samplers.learner import Memory
from search.samplers.prior import Prior
from search.task import Task
from search.volume import box_in
from threshnet.shapes import smallest_input

MIN_FINISHED = 5  # number of networks to train to the end before any network is pruned because of its latency
READING = 0.05  # cost of a latency in full trainings, before both were timed
NO_BOX = Box(1000.0, 100.0, 0.001)  # before any network is measured


class EarlierWork:
    """The networks of earlier work as the sampler of a study sees them."""

    def __init__(self, task: Task) -> None:
        known = [each for each in task.earlier if smallest_input(each.network) <= task.input_size]
        self.descriptors = [descriptors_of(each.network, task.input_size) for each in known]
        self.prior = Prior([each.outcome for each in known])

    def __len__(self) -> int:
        """Return the number of networks that can process images of the study's size."""
        return len(self.descriptors)


def acquisition_of(
    candidates: Sequence[Candidate],
    task: Task,
    box: Box,
    reading: float,
    earlier: EarlierWork | None = None,
    memory: Memory | None = None,
) -> Acquisition:
    """Return the acquisition of at least one candidate, in the same order."""
    before = earlier.descriptors if earlier else []
    everything = features_of(np.array([*(each.descriptors for each in candidates), *before]))
    rungs = Rungs(tuple(rung / task.rungs[-1] for rung in task.rungs))
    slopes = everything.slopes(LATENCY_SLOPES), everything.slopes(ERROR_SLOPES)
    prediction = earlier.prior.predict(everything, slopes, box.max_error) if earlier else None
    features = everything.first(len(candidates))
    found = Acquisition(features, rungs, box, reading, slopes=slopes, prediction=prediction, memory=memory)
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
