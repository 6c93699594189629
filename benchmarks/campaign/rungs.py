"""Stage "rungs": how well the error after a few epochs ranks networks, and the rungs of the studies that follow."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.campaign.arms import described
from benchmarks.campaign.networks import rung_networks
from benchmarks.campaign.protocol import EPOCHS
from benchmarks.campaign.recipes import stage_with_winner, winner
from benchmarks.campaign.units import Outcomes, Unit
from benchmarks.report import table
from search.training.recipes import Recipe

SCORED_AFTER = (1, 2, 5, EPOCHS)
RESAMPLES = 2_000
MIN_TAU = 0.6  # a rung of the studies ranks networks at least this well


def units_with(recipe: Recipe) -> list[Unit]:
    """Return the training of each rung network with a recipe of EPOCHS epochs."""
    return [
        Unit(name, "winner", spec, recipe, seed=0, scored_on="a", scored_after=SCORED_AFTER)
        for name, spec in rung_networks().items()
    ]


def tau_interval(early: NDArray[np.float64], final: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return Kendall's tau-b of two errors of n networks (n,), and its 95 % interval, a bootstrap over networks.

    Networks that are drawn several times are tied with themselves, which tau-b allows for. Samples in which all values
    are equal have no tau and are left out.
    """
    random = np.random.RandomState(0)
    draws = random.randint(len(final), size=(RESAMPLES, len(final)))
    taus = np.array([_tau(early[draw], final[draw]) for draw in draws])
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return _tau(early, final), float(low), float(high)


def _tau(early: NDArray[np.float64], final: NDArray[np.float64]) -> float:
    return float(kendalltau(early, final).statistic)


def errors(outcomes: Outcomes) -> NDArray[np.float64]:
    """Return the errors (networks, epochs) in percent; failed trainings have the error of chance."""
    rows = [outcomes[unit] for unit in RUNGS.units(outcomes)]
    return np.array([row.errors or (row.error,) * len(SCORED_AFTER) for row in rows])


def rungs(outcomes: Outcomes) -> tuple[int, ...]:
    """Return the rungs of the studies: the epochs before the end whose tau is at least MIN_TAU."""
    found = errors(outcomes)
    return tuple(
        epoch for index, epoch in enumerate(SCORED_AFTER[:-1]) if _tau(found[:, index], found[:, -1]) >= MIN_TAU
    )


def section(outcomes: Outcomes) -> str:
    """Return the table of errors and the table of rank correlations."""
    found = errors(outcomes)
    networks = [
        [unit.network, *(f"{error:.2f}" for error in row)]
        for unit, row in zip(RUNGS.units(outcomes), found, strict=True)
    ]
    taus = [
        [f"{epoch}", "{:.2f} ({:.2f} to {:.2f})".format(*tau_interval(found[:, index], found[:, -1]))]
        for index, epoch in enumerate(SCORED_AFTER[:-1])
    ]
    recipe = winner(outcomes)
    assert recipe is not None
    chosen = ", ".join(map(str, rungs(outcomes))) or "none"
    return "\n\n".join(
        [
            table(["Network", *(f"epoch {epoch}, %" for epoch in SCORED_AFTER)], networks),
            table(["Epoch", f"Kendall's tau with epoch {EPOCHS}"], taus),
            f"{len(networks)} networks, three for each threshold, trained once (recipe: {described(recipe)}) and "
            f"scored on part A. The 95 % intervals are percentiles of {RESAMPLES:,} bootstrap samples of networks. "
            f"Rungs of the studies, i.e. epochs with a tau of at least {MIN_TAU:g}: {chosen}.",
        ]
    )


RUNGS = stage_with_winner("rungs", "How long must a rung be?", units_with, section)
