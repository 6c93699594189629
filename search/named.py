"""The named networks of a study: all are measured at the start, and their trainings take turns with the search.

A named network has two trials. The first one measures it and is pruned. The second one trains it to the end,
regardless of limits and rungs. It continues the first one, so that the claims of search.claims hold for named networks,
too. A named network outside the study's space has no parameters, and its trials carry the network itself.
"""

import copy
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from search.records import DUPLICATE_OF, MEASURES, MODEL, NAMED, NETWORK
from space import Space, contains, encode
from threshnet.baselines import Architecture, LibraryModel, library_model
from threshnet.counting import count_library_model
from threshnet.errors import InputError
from threshnet.named import NAMED as NAMED_NETWORKS
from threshnet.named import named
from threshnet.shapes import smallest_input
from threshnet.spec_file import read_spec_file

PUBLISHED = ("threshnet28", "threshnet79", "threshnet95")  # the named networks of a study that does not name any
FIRST_SEARCHED = 5  # number of networks that the search trains before the first named network is trained
MAX_SHARE = 0.5  # maximum share of a study's trainings that named networks may take


def named_networks(texts: Sequence[str] | None, space: Space, input_size: int) -> dict[str, Architecture]:
    """Return the named networks of a study by name, with the study's number of classes.

    Each text is the name of a network, a JSON file, torchvision/NAME or timm/NAME. None selects the published
    ThreshNets that the space contains and that take images of `input_size` pixels. Raises InputError if a text is none
    of these, if a network does not take these images, or if two texts are the same network.
    """
    if texts is None:
        published = {name: replace(NAMED_NETWORKS[name], classes=space.classes) for name in PUBLISHED}
        return {
            name: spec
            for name, spec in published.items()
            if contains(space, spec) and smallest_input(spec) <= input_size
        }
    found: dict[str, Architecture] = {}
    for text in texts:
        try:
            name, network = _named(text, space.classes, input_size)
        except InputError as error:
            raise InputError(f"named = {text!r}: {error}") from None
        same = [
            other for other, known in found.items() if other == name or known.fingerprint() == network.fingerprint()
        ]
        if same:
            raise InputError(f"named = {text!r}: the same network or name as {same[0]!r}")
        found[name] = network
    return found


def _named(text: str, classes: int, input_size: int) -> tuple[str, Architecture]:
    """Return the name and the network that a text stands for, with `classes` classes."""
    model = library_model(text, classes)
    if model is not None:
        count_library_model(model, input_size)
        return model.name, model
    if text.lower() not in NAMED_NETWORKS and (text.endswith(".json") or Path(text).exists()):
        given = read_spec_file(Path(text))
        name, spec = given.title, given.spec
    else:
        name, spec = text.lower(), named(text, ("a JSON file", "torchvision/NAME", "timm/NAME"))
    least = smallest_input(spec)
    if least > input_size:
        raise InputError(f"takes images of at least {least} pixels, and the study has {input_size}")
    return name, replace(spec, classes=classes)


def queue_measurements(study: Study, space: Space, networks: Mapping[str, Architecture]) -> None:
    """Queue a measurement of each named network that the study does not have yet."""
    names = {trial.user_attrs.get(NAMED) for trial in study.get_trials(deepcopy=False)}
    for name, network in networks.items():
        if name in names:
            continue
        attrs: dict[str, Any] = {NAMED: name, MEASURES: True}
        if isinstance(network, LibraryModel):
            study.enqueue_trial({}, user_attrs=attrs | {MODEL: network.to_json()})
        elif contains(space, network):
            study.enqueue_trial(encode(space, network), user_attrs=attrs)
        else:
            study.enqueue_trial({}, user_attrs=attrs | {NETWORK: network.to_json()})


def queue_trainings(study: Study, most: int) -> None:
    """Queue trainings of measured named networks until `most` named networks are trained or queued."""
    trials = study.get_trials(deepcopy=False)
    missing = max(0, most - len(_training(trials)))
    for trial in _untrained(trials)[:missing]:
        study.enqueue_trial(trial.params, user_attrs=carried(trial, NAMED))


def carried(trial: FrozenTrial, *names: str) -> dict[str, Any]:
    """Return the attributes `names` of a trial that it has, and its network if the network is not in the space."""
    more = (MODEL, NETWORK) if outside_space(trial) else ()
    return {name: trial.user_attrs[name] for name in (*names, *more) if name in trial.user_attrs}


def outside_space(trial: FrozenTrial) -> bool:
    """Return whether a trial was queued without parameters, because its network is not in the study's space."""
    return trial.system_attrs.get("fixed_params") == {}


def due(searched: int) -> int:
    """Return how many named networks may be trained by the time the search has trained `searched` networks.

    The first one follows the first FIRST_SEARCHED networks of the search. Then every second training may be that of a
    named network.
    """
    return max(0, searched - FIRST_SEARCHED + 1)


def to_train(trials: Sequence[FrozenTrial], most: int) -> int:
    """Return how many named networks are still to be trained, or in training, if `most` are trained in total."""
    states = _training(trials)
    running = sum(state in (TrialState.WAITING, TrialState.RUNNING) for state in states.values())
    measuring = [trial for trial in trials if MEASURES in trial.user_attrs and not trial.state.is_finished()]
    return running + min(len(_untrained(trials)) + len(measuring), max(0, most - len(states)))


def any_waiting(trials: Sequence[FrozenTrial]) -> bool:
    """Return whether the training of a named network is queued and not started."""
    return TrialState.WAITING in _training(trials).values()


def _untrained(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that measured a named network whose training was never queued, one for each network."""
    started, found = _training(trials), dict[str, FrozenTrial]()
    for trial in trials:
        # The measurement of a network that the study already has is a duplicate, which is pruned as well.
        if MEASURES in trial.user_attrs and trial.state is TrialState.PRUNED and trial.user_attrs[NAMED] not in started:
            found.setdefault(trial.user_attrs[NAMED], trial)
    return list(found.values())


def _training(trials: Sequence[FrozenTrial]) -> dict[str, TrialState]:
    """Return the state of the training of each named network, by name, and of its repetition if it was lost."""
    return {
        trial.user_attrs[NAMED]: trial.state
        for trial in trials
        if NAMED in trial.user_attrs and MEASURES not in trial.user_attrs and DUPLICATE_OF not in trial.user_attrs
    }


class _SearchedStudy(Study):
    """A study without the trials whose network is not in its space."""

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        return [trial for trial in trials if not outside_space(trial)]


def searched_study(study: Study) -> Study:
    """Return a view of a study without the trials outside its space, which samplers of parameters cannot use."""
    view = copy.copy(study)
    view.__class__ = _SearchedStudy
    return view
