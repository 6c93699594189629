"""The freeze-thaw search of this project on a recorded table, which replaces training and latency measurement.

Like search.samplers.freeze_thaw, it continues the training with the highest acquisition value for one rung at a time
and can prune a network after its latency is measured. Unlike search.samplers.freeze_thaw, it adds only random networks
to the pool and no neighbours of good networks, because the pool contains most of the table anyway.
"""

import numpy as np

from benchmarks.search_efficiency.replay import Replay
from benchmarks.threshbench.table import INPUT_SIZE, RUNGS
from search.samplers.acquisition import MIN_FINISHED, Acquisition
from search.samplers.candidates import Candidate, descriptors_of
from search.samplers.pool import POOL_SIZE, RENEWED_PER_ROUND
from search.samplers.surrogate import PRIOR


def freeze_thaw(replay: Replay, seed: int) -> None:
    """Search with all latencies known from the start, since latencies are free on a recorded table."""
    _search(replay, seed, latencies_known=True)


def freeze_thaw_unseen(replay: Replay, seed: int) -> None:
    """Search without knowing the latency of a network before it is chosen, as in a launched study."""
    _search(replay, seed, latencies_known=False)


def _search(replay: Replay, seed: int, *, latencies_known: bool) -> None:
    rng = np.random.default_rng(seed)
    entries = replay.table.entries
    descriptors = [descriptors_of(entry.spec, INPUT_SIZE) for entry in entries]
    measured: set[int] = set()
    pruned: set[int] = set()
    pool: list[int] = []
    hyperparameters = PRIOR

    def candidate(place: int) -> Candidate:
        rungs = replay.rung(place) + 1
        return Candidate(
            fingerprint=str(place),
            descriptors=descriptors[place],
            latency_ms=entries[place].latency_ms if latencies_known or place in measured else None,
            errors=dict(zip(RUNGS[:rungs], entries[place].errors, strict=False)),
            feasible=place not in pruned,
            state="closed" if place in pruned or rungs == len(RUNGS) else "open",
        )

    while replay.open:
        pool = rng.permutation([place for place in pool if place not in measured]).tolist()[
            : POOL_SIZE - RENEWED_PER_ROUND
        ]
        others = set(range(len(entries))) - measured - set(pool)
        pool += rng.permutation(sorted(others)).tolist()[: POOL_SIZE - len(pool)]
        places = sorted({*pool, *measured})
        acquisition = Acquisition([candidate(place) for place in places], RUNGS, start=hyperparameters)
        hyperparameters, values = acquisition.hyperparameters, acquisition.values()
        if not np.isfinite(values).any():
            return
        chosen = places[int(np.argmax(values))]
        if chosen not in measured:
            measured.add(chosen)
            known = sorted(measured)
            can_prune = sum(replay.rung(place) == len(RUNGS) - 1 for place in known) >= MIN_FINISHED
            if can_prune and not Acquisition([candidate(place) for place in known], RUNGS).can_reach(
                known.index(chosen)
            ):
                pruned.add(chosen)
                continue
        replay.train(chosen, replay.rung(chosen) + 1)
