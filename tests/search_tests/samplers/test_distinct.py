"""Samplers: each one proposes networks of the space that fit, without duplicates while others are left."""

from typing import cast

import optuna
import pytest
from optuna import Study, Trial
from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from search_tests.tiny import FEW, LARGEST, SPACE, params_of, tiny_task

from search import records
from search.samplers import distinct as samplers
from search.samplers.distinct import DUPLICATE_REDRAWS, DistinctSampler
from search.samplers.freeze_thaw import FreezeThawSampler
from search.samplers.named import SAMPLERS, sampler_for
from search.task import Task
from space import Limits, Space, decode, encode, size, suggest
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

CHEAP = 3000  # trainable numbers, about the middle of the space


@pytest.fixture(autouse=True)
def _silence() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


OTHERS = ("tpe", "gp", "nsga2", "random")  # Optuna's


def is_cheap(spec: NetworkSpec) -> bool:
    return params_of(spec) <= CHEAP


def new_study(name: str, space: Space = SPACE, limits: Limits | None = None, seed: int = 0) -> Study:
    sampler = sampler_for(name, tiny_task(limits, space), seed)
    return optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)


def search(study: Study, space: Space, trials: int) -> list[str]:
    """Score networks by their size and by a conflicting number, and give their fingerprints."""

    def score(trial: Trial) -> tuple[float, float]:
        spec = suggest(space, trial)
        trial.set_user_attr(records.FINGERPRINT, spec.fingerprint())
        trial.set_constraint("params", params_of(spec) / CHEAP - 1)
        return 1e4 / params_of(spec), float(params_of(spec))

    study.optimize(score, n_trials=trials)
    return [trial.user_attrs[records.FINGERPRINT] for trial in study.trials[-trials:]]


def test_each_name_has_its_sampler() -> None:
    kinds = {"tpe": TPESampler, "gp": GPSampler, "nsga2": NSGAIISampler, "random": RandomSampler}
    made = {name: sampler_for(name, tiny_task(), 0) for name in SAMPLERS}
    assert isinstance(made.pop("freeze_thaw"), FreezeThawSampler)
    assert {name: type(each.inner) for name, each in made.items() if isinstance(each, DistinctSampler)} == kinds


def test_the_error_for_an_unknown_name_lists_the_samplers() -> None:
    with pytest.raises(InputError, match="'grid'; the samplers are freeze_thaw, tpe, gp, nsga2, random"):
        sampler_for("grid", tiny_task(), 0)


# A Gaussian process takes about a second per proposal, so it gets fewer trials.
@pytest.mark.parametrize(("name", "trials"), [("tpe", 60), ("gp", 18), ("nsga2", 60), ("random", 60)])
def test_no_network_is_proposed_twice_and_a_seed_makes_the_search_repeatable(name: str, trials: int) -> None:
    assert size(SPACE).networks >= 200
    found = search(new_study(name, SPACE), SPACE, trials)
    assert len(set(found)) == trials
    if name != "gp":
        assert search(new_study(name, SPACE), SPACE, trials) == found
        assert search(new_study(name, SPACE, seed=1), SPACE, trials) != found


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_the_inner_sampler_alone_proposes_duplicates(name: str) -> None:
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=cast(DistinctSampler, sampler_for(name, tiny_task(), 0)).inner
    )
    assert len(set(search(study, SPACE, 60))) < 60


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_duplicates_pass_once_the_space_is_exhausted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study(name, FEW)
    draws = 0
    draw = DistinctSampler._draw

    def counting(*args: object) -> object:
        nonlocal draws
        draws += 1
        return draw(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(DistinctSampler, "_draw", counting)
    found = search(study, FEW, 14)
    assert size(FEW).networks == 6
    assert len(set(found)) == 6
    draws = 0
    search(study, FEW, 2)
    assert draws == 2 * (DUPLICATE_REDRAWS + 1)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_networks_that_do_not_fit_are_avoided(name: str) -> None:
    study = new_study(name, SPACE, Limits(params=CHEAP))
    found = search(study, SPACE, 30)
    assert len(set(found)) == 30
    assert all(is_cheap(decode(SPACE, trial.params)) for trial in study.trials)
    free = new_study(name, SPACE)
    search(free, SPACE, 30)
    assert not all(is_cheap(decode(SPACE, trial.params)) for trial in free.trials)


def test_the_last_draw_passes_if_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[NetworkSpec] = []

    def infeasible(_task: Task, spec: NetworkSpec) -> bool:
        checked.append(spec)
        return False

    monkeypatch.setattr(samplers, "INFEASIBLE_REDRAWS", 7)
    monkeypatch.setattr(Task, "fits", infeasible)
    study = new_study("random", SPACE)
    search(study, SPACE, 1)
    assert len(checked) == 8
    assert decode(SPACE, study.trials[0].params) == checked[-1]


def test_freeze_thaw_draws_at_random_if_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "fits", lambda _task, _spec: False)
    study = new_study("freeze_thaw", SPACE)
    search(study, SPACE, 2)
    assert all(trial.params for trial in study.trials)


@pytest.mark.parametrize("name", SAMPLERS)
def test_enqueued_trials_keep_their_parameters(name: str) -> None:
    study = new_study(name, SPACE, Limits(params=params_of(LARGEST) - 1))
    wanted = [encode(SPACE, LARGEST), {key: d.high for key, d in SPACE.distributions().items()}]
    for params in (*wanted, wanted[0]):  # an infeasible network and a duplicate included
        study.enqueue_trial(params)
    search(study, SPACE, 4)
    assert [trial.params for trial in study.trials[:3]] == [*wanted, wanted[0]]
    assert study.trials[3].params not in wanted


@pytest.mark.parametrize("name", OTHERS)
def test_the_relative_space_is_the_whole_space(name: str) -> None:
    study = new_study(name, SPACE)
    for _ in range(2):
        trial = study.ask()
        assert trial.relative_params.keys() == SPACE.distributions().keys()
        assert suggest(SPACE, trial) == decode(SPACE, trial.relative_params)
        study.tell(trial, (1.0, 1.0))
    frozen: FrozenTrial = study.trials[0]
    assert study.sampler.infer_relative_search_space(study, frozen) == SPACE.distributions()
