"""Importances of the choices of a search space, from the values that have an effect on the trained networks."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from space import contains, effective_values
from studies.study import OBJECTIVES, LoadedStudy

MIN_NETWORKS = 20  # fully trained networks; fewer are not informative
TREES = 32  # number of trees in the random forest
MAX_PARAMETERS = 12  # maximum number of choices shown, most important first


def importances(loaded: LoadedStudy) -> dict[str, Any]:
    """Return the most important choices for error and for latency.

    The share of a choice is the mean decrease in impurity of a random forest (Breiman, 2001, "Random forests"): the
    fraction of the explained variance that comes from splits on this choice. For each objective, the shares of all
    choices add up to 1. The forest sees effective values (see space.effective_values). If there are too few networks or
    all are alike, the result only contains the "reason".
    """
    space = loaded.spec.space
    trained = [(record.network, record.point) for record in loaded.records if record.trained and record.network]
    points = np.array([point[::-1] for network, point in trained if contains(space, network)])
    if len(points) < MIN_NETWORKS:
        return {"reason": f"Available after {MIN_NETWORKS} fully trained networks ({len(points)} so far)"}
    names, table = columns([effective_values(space, network) for network, _ in trained if contains(space, network)])
    if not names or not np.ptp(points, axis=0).all():
        return {"reason": "Not available: no parameter varies, or no objective depends on one"}
    forests = [RandomForestRegressor(TREES, random_state=0).fit(table, values) for values in points.T]
    shares = [sorted(zip(forest.feature_importances_, names, strict=True), reverse=True) for forest in forests]
    return {
        "networks": len(points),
        "parameters": len(names),
        "objectives": [
            {"name": name, "shares": [[choice, round(float(value), 4)] for value, choice in share[:MAX_PARAMETERS]]}
            for name, share in zip(OBJECTIVES, shares, strict=True)
        ],
    }


def columns(networks: Sequence[dict[str, str | float | bool]]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the choices that vary, and a table (networks, choices) of their values as numbers.

    Texts are numbered in alphabetical order. A choice without effect in a network gets its most frequent value, so that
    its importance does not include whether it has an effect.
    """
    found: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for values in networks for name in values):
        counts = Counter(values[name] for values in networks if name in values)
        ((usual, _),) = counts.most_common(1)
        if len(counts) > 1:
            order = sorted(counts, key=str)
            given = [values.get(name, usual) for values in networks]
            found[name] = [float(order.index(each) if isinstance(each, str) else each) for each in given]
    return list(found), np.array(list(found.values()), dtype=np.float64).T
