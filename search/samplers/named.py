"""Samplers by name.

To add one, write a function in a file of this folder and an entry below. The entry refers to the function by a string,
so that help and error messages can list the samplers without importing Optuna or torch.
"""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from threshnet.errors import InputError

if TYPE_CHECKING:
    from search.samplers.sampler import StudySampler
    from search.task import Task


@dataclass(frozen=True)
class Sampler:
    """An entry of SAMPLERS."""

    # "module:function" or "module:class", imported on first use: (Task, seed or None) -> StudySampler.
    factory: str
    # A phrase that describes its proposals.
    about: str
    # Whether a study file without `training.rungs` has rungs with this sampler. Every sampler supports rungs if given.
    default_rungs: bool = False


SAMPLERS: dict[str, Sampler] = {
    "freeze_thaw": Sampler(
        "search.samplers.freeze_thaw:FreezeThawSampler",
        "the network with the highest expected hypervolume improvement per remaining training cost, "
        "a new one or one stopped at a rung",
        default_rungs=True,
    ),
    "tpe": Sampler(
        "search.samplers.distinct:tpe",
        "Optuna's TPE, multivariate, with constant liar and 12 random trials at the start",
    ),
    "gp": Sampler(
        "search.samplers.distinct:gp",
        "Optuna's Gaussian-process sampler (logEHVI), with 12 random trials at the start",
    ),
    "nsga2": Sampler("search.samplers.distinct:nsga2", "Optuna's NSGA-II with a population of 24"),
    "random": Sampler("search.samplers.distinct:random", "uniformly at random"),
}


def sampler_for(name: str, task: "Task", seed: int | None) -> "StudySampler":
    """Create the sampler called `name` for a task; raises an InputError that lists the samplers if unknown."""
    if name not in SAMPLERS:
        raise InputError(f"no sampler is named {name!r}; the samplers are {', '.join(SAMPLERS)}")
    made: StudySampler = resolve_name(SAMPLERS[name].factory)(task, seed)
    return made
