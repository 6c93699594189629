"""Stage "factorial": what links buy at equal latency.

Dense, log-dense, harmonic and chain networks of two sizes, whose widths are scaled to equal latencies and which are
otherwise equal, are trained with three seeds and scored on parts A and B. Nothing is chosen by these scores.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import studentized_range

from benchmarks.campaign.arms import described
from benchmarks.campaign.protocol import EPOCHS
from benchmarks.campaign.recipes import stage_with_winner, winner
from benchmarks.campaign.units import Outcomes, Unit
from benchmarks.campaign.widths import latencies_ms, networks, warnings
from benchmarks.cells import INPUT_SIZE
from benchmarks.report import table
from search.training.recipes import Recipe
from threshnet.costs import count
from threshnet.schedules import THRESHOLD_NAMES

SEEDS = (0, 1, 2)
CONFIDENCE = 0.95


def units_with(recipe: Recipe) -> list[Unit]:
    """Return the trainings with a recipe, all networks before the next seed."""
    found = networks()
    return [
        Unit(f"{size}-{name}", "winner", found[size][name], recipe, seed, scored_on="ab", scored_after=(EPOCHS,))
        for seed in SEEDS
        for size in found
        for name in THRESHOLD_NAMES
    ]


def errors(outcomes: Outcomes) -> NDArray[np.float64]:
    """Return the errors (sizes, thresholds, seeds) in percent."""
    every = [outcomes[unit].error for unit in FACTORIAL.units(outcomes)]
    return np.array(every).reshape(len(SEEDS), -1, len(THRESHOLD_NAMES)).transpose(1, 2, 0)


def least_difference(found: NDArray[np.float64]) -> float:
    """Return the smallest difference of two thresholds' mean errors that is significant, in points.

    `found` are errors (sizes, thresholds, seeds). This is Tukey's honestly significant difference at 95 % for all pairs
    of thresholds, with the variance within the cells.
    """
    sizes, thresholds, seeds = found.shape
    freedom = sizes * thresholds * (seeds - 1)
    variance = float(found.var(axis=2, ddof=1).mean())
    quantile = float(studentized_range.ppf(CONFIDENCE, thresholds, freedom))
    return quantile * float(np.sqrt(variance / (sizes * seeds)))


def section(outcomes: Outcomes) -> str:
    """Return the table of all cells and the comparison of the thresholds."""
    found, specs, latencies = errors(outcomes), networks(), latencies_ms()
    cells = []
    for index, size in enumerate(specs):
        for threshold, name in enumerate(THRESHOLD_NAMES):
            costs, own = count(specs[size][name], INPUT_SIZE), found[index, threshold]
            cells.append(
                [
                    f"{size}, {name}",
                    f"{latencies[size][name]:.3f}",
                    f"{costs.params / 1e6:.3f}",
                    f"{costs.macs / 1e6:.1f}",
                    f"{own.mean():.2f} ± {own.std(ddof=1):.2f}",
                ]
            )
    means, least = found.mean(axis=(0, 2)), least_difference(found)
    pairs = [
        [
            f"{THRESHOLD_NAMES[a]} - {THRESHOLD_NAMES[b]}",
            f"{means[a] - means[b]:+.2f} ({means[a] - means[b] - least:+.2f} to {means[a] - means[b] + least:+.2f})",
        ]
        for a, b in combinations(range(len(THRESHOLD_NAMES)), 2)
    ]
    recipe = winner(outcomes)
    assert recipe is not None
    header = ["Network", "latency, ms", "params, M", "MACs, M", "error, % (mean ± standard deviation)"]
    return "\n\n".join(
        [
            table(header, cells),
            table(["Links", "difference of the mean errors, points"], pairs),
            f"{len(SEEDS)} seeds of {EPOCHS} epochs (recipe: {described(recipe)}), scored on parts A and B. Widths are "
            "scaled to the latency of the dense network; stem, depth and block outputs are equal. The 95 % intervals "
            "hold for all pairs together (Tukey), with the variance between seeds. They do not include other sizes, "
            f"depths or data. Differences below {least:.2f} points are not significant.",
            "Latencies of a size are from one interleaved run (ONNX Runtime, fp32, batch 1, one thread). "
            f"Warnings: {'; '.join(warnings()) or 'none'}.",
        ]
    )


FACTORIAL = stage_with_winner("factorial", "Links at equal latency", units_with, section)
