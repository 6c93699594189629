"""The closing lines of a launch."""

import shlex

from search.progress import tally
from search.run import MAX_REJECTED, Outcome
from space import size
from studies.defaults import default_storage
from studies.library import Study
from studies.storage import place_options


def closing(study: Study, outcome: Outcome) -> str:
    """The closing lines of a launch: its result and the next command."""
    loaded, spec = study.loaded, study.spec
    ended = {
        "enough": "done.",
        "spent": "its training budget is spent.",
        "plateau": "its front has plateaued.",
        "timeout": "time limit reached; rerun the command to resume.",
        "interrupted": "stopped; rerun the command to resume.",
        "unreachable": "stopped, its device cannot be reached; rerun the command to resume.",
        "fruitless": f"gave up: {MAX_REJECTED} consecutive duplicates or infeasible proposals.",
    }[outcome.ended]
    states = tally(loaded.records)
    so_far = f"{loaded.trained} networks trained"
    so_far += f", {states['stopped']} stopped early" if states["stopped"] else ""
    so_far += f", {states['failed']} failed" if states["failed"] else ""
    so_far += f", of {spec.trials}" if outcome.trials < spec.trials else ""
    pareto = shlex.join(
        ["threshnet", "pareto", spec.name, *place_options(study.storage, loaded.weights.parents[1], default_storage())]
    )
    counted = size(spec.space)
    space = f"space {spec.space.name}: {counted.points:.1e} points, {counted.networks:.1e} distinct networks\n"
    following = f"\nNext: {pareto} --html front.html" if loaded.trained else ""
    summary = "".join(f"\n{sentence}" for sentence in study.progress.sentences) if loaded.trained else ""
    return f"{space}{spec.name}: {so_far}: {ended}{summary}{following}"
