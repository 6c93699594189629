"""Stage "recipes": single ingredients on two networks, then their best combination against the base recipe.

All recipes train for the same time: as many epochs as fit into the processor seconds of the base recipe, plus 5 %.
There are no partial epochs, so recipes with few epochs may take less; the table states the times. Networks are scored
on part A.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from benchmarks.campaign.arms import ARMS, changed, combination, described
from benchmarks.campaign.costs import epochs_in_equal_time, ratio_of
from benchmarks.campaign.networks import RECIPE_NETWORKS
from benchmarks.campaign.protocol import BASE, EPOCHS
from benchmarks.campaign.stage import Stage, missing
from benchmarks.campaign.units import Outcomes, Unit
from benchmarks.report import table
from search.training.recipes import Recipe

SEEDS = (0, 1)
FIRST_ROUND = ("threshnet28", "small-chain")
RATES = (0.5, 1.0, 2.0)  # learning rates of the second round, as multiples of the recipe's
# Two networks with 15 % errors that differ on 10 % of the 5,000 images: the difference of their errors has a standard
# error of 100 * sqrt(0.1 / 5000) = 0.45 points, the mean of four such differences one of 0.22 points.
MIN_GAIN = 0.2  # points; an arm with a lower gain is not used

Arm = tuple[str, ...]  # names of the arms of a recipe; () is the base recipe


def title(arms: Arm) -> str:
    """Return the name of a recipe."""
    return "+".join(arms) or BASE.name


def unit(network: str, arms: Arm, seed: int, rate: float = 1.0) -> Unit:
    """Return the training of a network with a recipe, for the time that the base recipe takes."""
    recipe = changed(*arms)
    epochs = epochs_in_equal_time(ratio_of(network, arms)) if arms else EPOCHS
    return Unit(
        network=network,
        arm=title(arms) if rate == 1 else f"{title(arms)}-rate{rate:g}",
        spec=RECIPE_NETWORKS[network],
        recipe=replace(recipe, epochs=epochs, learning_rate=rate * recipe.learning_rate),
        seed=seed,
        scored_on="a",
        scored_after=(epochs,),
    )


def first_round() -> list[Unit]:
    """Return the units of the first round. The base recipe is first, and all arms have a unit before second seeds."""
    arms: list[Arm] = [(), *((arm,) for arm in ARMS)]
    return [unit(network, each, seed) for seed in SEEDS for each in arms for network in FIRST_ROUND]


def gains(outcomes: Outcomes) -> dict[str, float]:
    """Return the mean gain of each arm: by how many points its error is lower than that of the base recipe."""

    def error(arms: Arm) -> float:
        return fmean([outcomes[unit(network, arms, seed)].error for network in FIRST_ROUND for seed in SEEDS])

    return {arm: error(()) - error((arm,)) for arm in ARMS}


def second_round(arms: Arm) -> list[Unit]:
    """Return the units that compare a combination of arms with the base recipe."""
    return [
        unit(network, each, seed, rate)
        for seed in SEEDS
        for each, rate in candidates(arms)
        for network in RECIPE_NETWORKS
    ]


def chosen(outcomes: Outcomes) -> Arm | None:
    """Return the combination of the second round, or None before the first round has finished."""
    return None if missing(first_round(), outcomes) else combination(gains(outcomes), MIN_GAIN)


def mean_error(outcomes: Outcomes, arms: Arm, rate: float, networks: Sequence[str] = ()) -> float:
    """Return the mean error of a recipe in the second round, over seeds and networks, by default all networks."""
    names = networks or RECIPE_NETWORKS
    return fmean([outcomes[unit(network, arms, seed, rate)].error for network in names for seed in SEEDS])


def candidates(arms: Arm) -> list[tuple[Arm, float]]:
    """Return the recipes and rates of the second round; of equal ones, the first is preferred."""
    return [(each, rate) for each in ((), arms) for rate in sorted(RATES, key=lambda rate: abs(rate - 1))]


def best(outcomes: Outcomes) -> tuple[Arm, float] | None:
    """Return the candidate with the lowest mean error, or None before the second round has finished."""
    arms = chosen(outcomes)
    if arms is None or missing(second_round(arms), outcomes):
        return None
    return min(candidates(arms), key=lambda candidate: mean_error(outcomes, *candidate))


def winner(outcomes: Outcomes) -> Recipe | None:
    """Return the recipe of the stages that follow, with EPOCHS epochs, or None before the second round has finished."""
    found = best(outcomes)
    if found is None:
        return None
    recipe = changed(*found[0])
    return replace(recipe, learning_rate=found[1] * recipe.learning_rate, epochs=EPOCHS)


def units(outcomes: Outcomes) -> list[Unit]:
    """Return the units of the first round and, once it has finished, of the second one."""
    arms = chosen(outcomes)
    first = first_round()
    second = second_round(arms) if arms is not None else []
    return [*first, *(each for each in second if each not in first)]


def later(outcomes: Outcomes) -> list[Unit]:
    """Return stand-ins for the units of the second round while its combination is not known."""
    if chosen(outcomes) is not None:
        return []
    base = [unit(network, (), 0) for network in RECIPE_NETWORKS]
    return [
        replace(each, arm=f"round2-{arm}", seed=number)
        for number in range(len(SEEDS) * len(RATES))
        for arm in ("base", "combination")
        for each in base
    ]


def section(outcomes: Outcomes) -> str:
    """Return the tables of both rounds."""
    arms, found, recipe = chosen(outcomes), best(outcomes), winner(outcomes)
    assert arms is not None
    assert found is not None
    assert recipe is not None
    gained = gains(outcomes)
    first = [
        [*_cells(outcomes, each, 1.0, FIRST_ROUND), f"{gained[each[0]]:+.2f}" if each else "-"]
        for each in ((), *((arm,) for arm in ARMS))
    ]
    every = tuple(RECIPE_NETWORKS)
    second = [
        [*_cells(outcomes, *each, every), f"{mean_error(outcomes, *each):.2f}"] for each in sorted(candidates(arms))
    ]
    improvement = mean_error(outcomes, (), 1.0) - mean_error(outcomes, *found)
    return "\n\n".join(
        [
            table([*_header(FIRST_ROUND), "gain, points"], first),
            f"Cells are the mean error of seeds {', '.join(map(str, SEEDS))} on part A in percent and the number of "
            f"epochs; processor time is relative to `{BASE.name}`, averaged over networks. The gain is the difference "
            f"to `{BASE.name}`, averaged over networks and seeds, with a standard error of about {MIN_GAIN:g} points. "
            f"Arms with a gain of at least {MIN_GAIN:g} points make up the combination: {title(arms)}.",
            table([*_header(every), "mean error, %"], second),
            f"The recipe of all further trainings has the lowest mean error: {title(found[0])}, rate x {found[1]:g} "
            f"({described(recipe)}), {improvement:.2f} points below `{BASE.name}`.",
        ]
    )


def _header(networks: Sequence[str]) -> list[str]:
    return ["Recipe", *networks, "processor time"]


def _cells(outcomes: Outcomes, arms: Arm, rate: float, networks: Sequence[str]) -> list[str]:
    """Return the cells of a recipe: its name, its error and epochs on each network, and its time."""

    def time(network: str, arms: Arm, rate: float) -> float:
        return sum(sum(outcomes[unit(network, arms, seed, rate)].cpu_seconds) for seed in SEEDS)

    relative = fmean([time(network, arms, rate) / time(network, (), 1.0) for network in networks])
    return [
        title(arms) if rate == 1 else f"{title(arms)}, rate x {rate:g}",
        *(
            f"{mean_error(outcomes, arms, rate, (network,)):.2f} ({unit(network, arms, 0).recipe.epochs})"
            for network in networks
        ),
        f"{relative:.2f}",
    ]


RECIPES = Stage("recipes", "A recipe worth its images", units, later, section)


def stage_with_winner(
    name: str, title: str, units_with: Callable[[Recipe], list[Unit]], section: Callable[[Outcomes], str]
) -> Stage:
    """Return a stage whose units have the winner's recipe; until it is known, stand-ins have the base recipe."""

    def units(outcomes: Outcomes) -> list[Unit]:
        recipe = winner(outcomes)
        return units_with(recipe) if recipe else []

    def later(outcomes: Outcomes) -> list[Unit]:
        return [] if winner(outcomes) else units_with(BASE)

    return Stage(name, title, units, later, section)
