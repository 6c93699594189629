"""Which parameters of a space mattered in a study, for the page."""

import math
import warnings
from typing import Any

from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from studies.study import OBJECTIVES, LoadedStudy

FEWEST = 20  # networks trained to their end; fewer tell nothing of a space's parameters
TREES = 32  # of the forest
SHOWN = 12  # parameters, the most important first


def importances(loaded: LoadedStudy) -> dict[str, Any]:
    """The most important parameters for error and for latency; the shares of all of an objective's add up to 1.

    A parameter's share is that of the variance which the splits of a random forest on it explain (mean decrease in
    impurity: Breiman, 2001, as Optuna computes it). It is the quick one of Optuna's measures: fANOVA takes minutes for
    hundreds of trials of a space like ours. Where networks are too few or all alike, "reason" says so instead.
    """
    complete = loaded.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST:
        return {"reason": f"{len(complete)} networks are trained to the end, and {FEWEST} are needed"}
    shares = [_shares(loaded, index) for index, _ in enumerate(OBJECTIVES)]
    if not all(shares):
        return {"reason": "no parameter varies, or nothing depends on one"}
    return {
        "networks": len(complete),
        "parameters": len(shares[0]),
        "objectives": [
            {"name": name, "shares": [[key, round(value, 4)] for key, value in list(share.items())[:SHOWN]]}
            for name, share in zip(OBJECTIVES, shares, strict=True)
        ],
    }


def _shares(loaded: LoadedStudy, index: int) -> dict[str, float]:
    """The share of each parameter for one objective, the largest first; empty where there is nothing to share."""

    def value(trial: FrozenTrial) -> float:
        return float(trial.values[index])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the evaluator is experimental, and a division by no variance
        found = get_param_importances(
            loaded.study, evaluator=MeanDecreaseImpurityImportanceEvaluator(n_trees=TREES, seed=0), target=value
        )
    return found if all(math.isfinite(share) for share in found.values()) and any(found.values()) else {}
