"""Which parameters of a space mattered in a study, for the page."""

import warnings
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from studies.study import OBJECTIVES, Loaded

FEWEST = 20  # trained networks; fewer tell nothing of a space's parameters
MOST = 500  # the most recent networks that count: the forest's time grows with them
SHOWN = 12  # parameters, the most important first


def importances(loaded: Loaded) -> dict[str, Any]:
    """The most important parameters for error and for latency, shares that add up to 1 over all of them (fANOVA).

    fANOVA: Hutter, Hoos and Leyton-Brown, 2014, as Optuna computes it. Without enough trained networks, "reason" says so.
    """
    trained = {record.number for record in loaded.records if record.trained}
    trials = [t for t in loaded.study.get_trials(deepcopy=False) if t.number in trained and t.params][-MOST:]
    if len(trials) < FEWEST:
        return {"reason": f"{len(trials)} trained networks with parameters are too few; {FEWEST} are needed"}
    study = optuna.create_study(directions=loaded.study.directions)
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = [
            get_param_importances(
                study, evaluator=FanovaImportanceEvaluator(seed=0), target=lambda t, i=index: _value(t, i)
            )
            for index, _ in enumerate(OBJECTIVES)
        ]
    return {
        "networks": len(trials),
        "parameters": len(shares[0]),
        "objectives": [
            {"name": name, "shares": [[key, round(value, 4)] for key, value in list(share.items())[:SHOWN]]}
            for name, share in zip(OBJECTIVES, shares, strict=True)
        ],
    }


def _value(trial: FrozenTrial, index: int) -> float:
    return float(trial.values[index])
