"""The search of the project on a recorded table: its outlook and the size of its pool, the table for trainings."""

import numpy as np

from benchmarks.replay import Replay
from benchmarks.threshbench import INPUT_SIZE, RUNGS
from search.kernel import PRIOR
from search.outlook import Candidate, Outlook, describe
from search.pool import SIZE


def freeze_thaw(replay: Replay, seed: int) -> None:
    """Go on with whatever promises most, one rung at a time, as long as the replay is open."""
    rng = np.random.default_rng(seed)
    entries = replay.table.entries
    described = [describe(entry.spec, INPUT_SIZE) for entry in entries]
    scored: dict[int, int] = {}  # rungs reached, by entry
    shape = PRIOR
    while replay.open:
        drawn = rng.permutation(len(entries))[:SIZE].tolist()
        seen = sorted({*drawn, *scored})
        candidates = [
            Candidate(
                fingerprint=str(place),
                descriptors=described[place],
                latency_ms=entries[place].latency_ms,
                errors=dict(zip(RUNGS[: scored.get(place, 0)], entries[place].errors, strict=False)),
                state="open" if scored.get(place, 0) < len(RUNGS) else "closed",
            )
            for place in seen
        ]
        outlook = Outlook(candidates, RUNGS, shape)
        shape = outlook.shape
        chosen = seen[int(np.argmax(outlook.promises()))]
        replay.train(chosen, scored.get(chosen, 0))
        scored[chosen] = scored.get(chosen, 0) + 1
