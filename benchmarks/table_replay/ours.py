"""The freeze-thaw search of this project on a table, with the same acquisition as the sampler of a study."""

import numpy as np

from benchmarks.table_replay.replay import READING, Replay
from search.samplers.acquisition import Acquisition, Rungs
from search.samplers.features import Features, features_of

READ_FIRST = 5  # unread networks among this many with the highest values are read before one is trained


def ours(replay: Replay, _seed: int) -> None:
    """Search with the rungs of the table."""
    _search(replay, rungs=True)


def ours_no_rung(replay: Replay, _seed: int) -> None:
    """Search with full trainings only."""
    _search(replay, rungs=False)


def features(replay: Replay) -> Features:
    """Return the features of the networks of a seed."""
    table = replay.table
    alike: dict[frozenset[str], list[int]] = {}
    for place, options in enumerate(table.options.values()):
        alike.setdefault(frozenset(options), []).append(place)
    codes = table.choices.copy()
    same = [columns for columns in alike.values() if len(columns) > 1]
    names = list(table.options.values())
    for columns in same:  # the same option gets the same index in all of these choices
        order = names[columns[0]]
        for column in columns:
            codes[:, column] = np.array([order.index(option) for option in names[column]])[codes[:, column]]
    return features_of(table.descriptors[replay.networks], codes[replay.networks] if table.options else None, same)


def _search(replay: Replay, _seed: int = 0, *, rungs: bool) -> None:
    table, networks = replay.table, replay.networks
    used = list(range(len(table.costs))) if rungs else [replay.top]
    acquisition = Acquisition(features(replay), Rungs(tuple(table.costs[used].tolist()), table.resumes), replay.box, READING)
    place_of = {int(network): place for place, network in enumerate(networks)}
    seen: set[tuple[int, int]] = set()

    def read(place: int) -> None:
        acquisition.read(place, replay.read(int(networks[place])))

    def train(place: int, rung: int) -> None:
        network = int(networks[place])
        replay.train(network, used[rung])
        for index, of_table in enumerate(used):
            if of_table in replay.errors[network] and (place, index) not in seen:
                seen.add((place, index))
                acquisition.score(place, index, replay.errors[network][of_table])

    for start in replay.starts:
        read(place_of[start])
        if rungs and not table.resumes:
            train(place_of[start], 0)
        train(place_of[start], len(used) - 1)
    import os
    init = int(os.environ.get("INIT", "0"))
    if rungs and init:
        for network in np.random.default_rng(_seed).permutation(replay.networks)[:init].tolist():
            read(place_of[network]); train(place_of[network], 0)
    while replay.open:
        values = acquisition.values()
        best = np.argsort(-values, kind="stable")[:READ_FIRST]
        if not np.isfinite(values[best[0]]):
            return
        unread = np.isnan(acquisition.latency[best]) & np.isfinite(values[best])
        if unread[0]:
            for place in best[np.logical_and.accumulate(unread)]:
                read(int(place))
            continue
        train(int(best[0]), int(acquisition.next_rung[best[0]]))
