"""The freeze-thaw search of this project on a table, with the same acquisition as the sampler of a study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_replay.replay import READING, Replay
from benchmarks.table_replay.table import Table
from search.earlier import Outcome
from search.pareto import knee
from search.samplers.acquisition import Acquisition, Rungs
from search.samplers.features import Features, features_of
from search.samplers.prior import Prior

READ_FIRST = 5  # at most this many networks are measured before the next decision


def ours(replay: Replay, seed: int) -> None:
    """Search with the rungs of the table."""
    _search(replay, seed, list(range(replay.top + 1)))


def ours_no_rung(replay: Replay, seed: int) -> None:
    """Search with full trainings only."""
    _search(replay, seed, [replay.top])


@dataclass(frozen=True)
class Earlier:
    """Outcomes of earlier work for networks of the table."""

    # Indices of the table, in the order of the outcomes.
    networks: NDArray[np.int64]
    outcomes: Sequence[Outcome]


def ours_with(earlier: Earlier) -> Callable[[Replay, int], None]:
    """Return the search with the rungs of the table that knows earlier work."""
    return lambda replay, seed: _search(replay, seed, list(range(replay.top + 1)), earlier)


def features(table: Table, networks: NDArray[np.int64]) -> Features:
    """Return the features of networks of a table, in their order."""
    if not table.options:
        return features_of(table.descriptors[networks])
    alike: dict[frozenset[str], list[int]] = {}
    for place, options in enumerate(table.options.values()):
        alike.setdefault(frozenset(options), []).append(place)
    codes, names = table.choices[networks].copy(), list(table.options.values())
    for columns in alike.values():  # the same option gets the same index in all of these choices
        order = names[columns[0]]
        for column in columns:
            codes[:, column] = np.array([order.index(option) for option in names[column]])[codes[:, column]]
    return features_of(table.descriptors[networks], codes, [columns for columns in alike.values() if len(columns) > 1])


def _search(replay: Replay, seed: int, rungs: list[int], earlier: Earlier | None = None) -> None:
    """Search with these rungs of the table."""
    table, networks, top = replay.table, replay.networks, len(rungs) - 1
    costs = Rungs(tuple(table.costs[rungs].tolist()), table.resumes)
    outcomes = earlier.outcomes if earlier else ()
    everything = features(table, np.concatenate([networks, earlier.networks]) if earlier else networks)
    flat = np.zeros(everything.columns.shape[1])
    prediction = Prior(outcomes).predict(everything, (flat, flat), replay.box.max_error) if earlier else None
    known = everything.first(len(networks))
    acquisition = Acquisition(known, costs, replay.box, READING, prediction=prediction)
    place_of = {int(network): place for place, network in enumerate(networks)}

    def read(place: int) -> None:
        if np.isnan(acquisition.latency[place]):
            acquisition.read(place, replay.read(int(networks[place])))

    def train(place: int, rung: int) -> None:
        network = int(networks[place])
        replay.train(network, rungs[rung])
        for index, of_table in enumerate(rungs):
            if of_table in replay.errors[network] and np.isnan(acquisition.errors[place, index]):
                acquisition.score(place, index, replay.errors[network][of_table])

    starts = replay.starts
    if not starts:
        expected = np.exp(np.column_stack([acquisition.log_latency()[0], acquisition.log_error()[0]]))
        starts = (int(networks[knee(expected)]),)
    for start in starts:
        read(place_of[start])
        train(place_of[start], 0)
        train(place_of[start], top)
    scored_first = 0 if earlier else costs.starts
    for place in np.random.default_rng(seed).permutation(len(networks))[:scored_first].tolist():
        read(place)
        train(place, 0)
    while replay.open:
        values, next_rung = acquisition.values()
        best = np.argsort(-values, kind="stable")[:READ_FIRST]
        if not np.isfinite(values[best[0]]):
            return
        unread = np.isnan(acquisition.latency[best]) & np.isfinite(values[best])
        if unread[0]:
            for place in best[np.logical_and.accumulate(unread)]:
                read(int(place))
        else:
            train(int(best[0]), int(next_rung[best[0]]))
