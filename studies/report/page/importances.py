"""Parameter importances of a study for the page."""

import math
import warnings
from typing import Any

from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from studies.study import OBJECTIVES, LoadedStudy

MIN_NETWORKS = 20  # fully trained networks; fewer are not informative
TREES = 32  # number of trees in the random forest
MAX_PARAMETERS = 12  # maximum number of parameters shown, most important first


def importances(loaded: LoadedStudy) -> dict[str, Any]:
    """Return the most important parameters for error and for latency.

    The share of a parameter is the mean decrease in impurity of a random forest (Breiman, 2001, as computed by Optuna):
    the fraction of the explained variance that comes from splits on this parameter. For each objective, the shares of
    all parameters add up to 1. This is the fastest evaluator in Optuna; fANOVA takes minutes for hundreds of trials in
    such a space. If there are too few networks or all are alike, the result only contains the "reason".
    """
    complete = loaded.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_NETWORKS:
        return {"reason": f"Available after {MIN_NETWORKS} fully trained networks ({len(complete)} so far)"}
    shares = [_shares(loaded, index) for index, _ in enumerate(OBJECTIVES)]
    if not all(shares):
        return {"reason": "Not available: no parameter varies, or no objective depends on one"}
    return {
        "networks": len(complete),
        "parameters": len(shares[0]),
        "objectives": [
            {"name": name, "shares": [[key, round(value, 4)] for key, value in list(share.items())[:MAX_PARAMETERS]]}
            for name, share in zip(OBJECTIVES, shares, strict=True)
        ],
    }


def _shares(loaded: LoadedStudy, index: int) -> dict[str, float]:
    """Return the share of each parameter for one objective, largest first. Empty if no parameter matters."""

    def value(trial: FrozenTrial) -> float:
        return float(trial.values[index])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is experimental, and the variance may be zero
        found = get_param_importances(
            loaded.study, evaluator=MeanDecreaseImpurityImportanceEvaluator(n_trees=TREES, seed=0), target=value
        )
    return found if all(math.isfinite(share) for share in found.values()) and any(found.values()) else {}
