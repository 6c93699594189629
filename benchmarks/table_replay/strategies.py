"""The strategies by name: this project's search and its peers."""

from collections.abc import Callable
from importlib import import_module

from benchmarks.table_replay.macs_ranks import macs_ranks
from benchmarks.table_replay.mo_asha import mo_asha
from benchmarks.table_replay.optuna_peers import nsga2, random, strategy, tpe
from benchmarks.table_replay.ours import ours, ours_no_rung
from benchmarks.table_replay.replay import Replay

Strategy = Callable[[Replay, int], None]  # takes a replay and a seed


def gp(replay: Replay, seed: int) -> None:
    """BoTorch's qLogNEHVI on our features. Raises ModuleNotFoundError if BoTorch is not installed."""
    search: Strategy = import_module("benchmarks.table_replay.botorch_peer").search
    search(replay, seed)


STRATEGIES: dict[str, Strategy] = {
    "ours": ours,
    "ours_no_rung": ours_no_rung,
    "tpe_multivariate": strategy(tpe, rungs=False),
    "tpe_multivariate_rungs": strategy(tpe, rungs=True),
    "nsga2": strategy(nsga2, rungs=False),
    "nsga2_rungs": strategy(nsga2, rungs=True),
    "random": strategy(random, rungs=False),
    "random_rungs": strategy(random, rungs=True),
    "mo_asha": mo_asha,
    "gp": gp,
    "macs_ranks": macs_ranks,
}
TITLES = {
    "ours": "freeze-thaw (ours)",
    "ours_no_rung": "ours, without rungs",
    "tpe_multivariate": "TPE, multivariate",
    "tpe_multivariate_rungs": "TPE, multivariate, with rungs",
    "nsga2": "NSGA-II",
    "nsga2_rungs": "NSGA-II, with rungs",
    "random": "random",
    "random_rungs": "random, with rungs",
    "mo_asha": "MO-ASHA",
    "gp": "qLogNEHVI (BoTorch)",
    "macs_ranks": "fronts of latency and size",
}
NEED_RUNGS = (*(name for name in STRATEGIES if name.endswith("_rungs")), "mo_asha", "ours")
OURS = ("ours", "ours_no_rung")
SLOW = ("gp",)  # strategies that take minutes per seed and are only run if they are named


def default(rungs: bool) -> tuple[str, ...]:
    """Return the strategies that are run unless others are named."""
    return tuple(name for name in STRATEGIES if name not in SLOW and (rungs or name not in NEED_RUNGS))
