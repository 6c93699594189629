"""Parameter importances of a study, for the page."""

import math
import warnings
from typing import Any

from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from studies.study import OBJECTIVES, LoadedStudy

MIN_NETWORKS = 20  # fully trained; fewer are not informative
TREES = 32  # of the forest
MAX_PARAMETERS = 12  # shown, the most important first


def importances(loaded: LoadedStudy) -> dict[str, Any]:
    """The most important parameters for error and for latency; the shares of all of an objective's add up to 1.

    A parameter's share is that of the variance explained by the splits of a random forest on it (mean decrease in
    impurity: Breiman, 2001, as Optuna computes it), the fastest of Optuna's evaluators: fANOVA takes minutes for
    hundreds of trials of such a space. If there are too few networks or all are alike, "reason" explains it instead.
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
    """The share of each parameter for one objective, the largest first; empty if no parameter matters."""

    def value(trial: FrozenTrial) -> float:
        return float(trial.values[index])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the evaluator is experimental, and a division by no variance
        found = get_param_importances(
            loaded.study, evaluator=MeanDecreaseImpurityImportanceEvaluator(n_trees=TREES, seed=0), target=value
        )
    return found if all(math.isfinite(share) for share in found.values()) and any(found.values()) else {}
