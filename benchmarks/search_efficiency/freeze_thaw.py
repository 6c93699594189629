"""The search of the project on a recorded table, which stands in for measuring and training.

Like search.samplers.freeze_thaw it continues the training with the highest acquisition value, one rung at a time, and
may prune a network once its latency is measured. New networks are drawn from the table at random, and none of them near
others, since the pool holds most of the table anyway.
"""

import numpy as np

from benchmarks.search_efficiency.replay import Replay
from benchmarks.threshbench.table import INPUT_SIZE, RUNGS
from search.samplers.acquisition import MIN_FINISHED, Acquisition
from search.samplers.candidates import Candidate, descriptors_of
from search.samplers.pool import POOL_SIZE, RENEWED_PER_ROUND
from search.samplers.surrogate import PRIOR


def freeze_thaw(replay: Replay, seed: int) -> None:
    """With the latency of every network known beforehand: it is free."""
    _search(replay, seed, told=True)


def freeze_thaw_unseen(replay: Replay, seed: int) -> None:
    """With a latency known once its network was chosen, as in a study that is launched."""
    _search(replay, seed, told=False)


def _search(replay: Replay, seed: int, *, told: bool) -> None:
    rng = np.random.default_rng(seed)
    entries = replay.table.entries
    descriptors = [descriptors_of(entry.spec, INPUT_SIZE) for entry in entries]
    measured: set[int] = set()
    away: set[int] = set()
    pool: list[int] = []
    hyperparameters = PRIOR

    def candidate(place: int) -> Candidate:
        rungs = replay.rung(place) + 1
        return Candidate(
            fingerprint=str(place),
            descriptors=descriptors[place],
            latency_ms=entries[place].latency_ms if told or place in measured else None,
            errors=dict(zip(RUNGS[:rungs], entries[place].errors, strict=False)),
            feasible=place not in away,
            state="closed" if place in away or rungs == len(RUNGS) else "open",
        )

    while replay.open:
        pool = rng.permutation([place for place in pool if place not in measured]).tolist()[
            : POOL_SIZE - RENEWED_PER_ROUND
        ]
        others = set(range(len(entries))) - measured - set(pool)
        pool += rng.permutation(sorted(others)).tolist()[: POOL_SIZE - len(pool)]
        seen = sorted({*pool, *measured})
        acquisition = Acquisition([candidate(place) for place in seen], RUNGS, start=hyperparameters)
        hyperparameters, values = acquisition.hyperparameters, acquisition.values()
        if not np.isfinite(values).any():
            return
        chosen = seen[int(np.argmax(values))]
        if chosen not in measured:
            measured.add(chosen)
            known = sorted(measured)
            learnt = sum(replay.rung(place) == len(RUNGS) - 1 for place in known) >= MIN_FINISHED
            if learnt and not Acquisition([candidate(place) for place in known], RUNGS).can_reach(known.index(chosen)):
                away.add(chosen)
                continue
        replay.train(chosen, replay.rung(chosen) + 1)
