"""The strategies on a synthetic table: reproducible for a seed, ending at the goal, and MO-ASHA's order."""

import sys
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import optuna
import pytest
from benchmarks_tests.made_up import table_of, whole_table

from benchmarks.search_efficiency.mo_asha import epsilon_net, mo_asha, promotion, ranking
from benchmarks.search_efficiency.replay import TOP, Proposal, Replay
from benchmarks.search_efficiency.strategies import SLOW, STRATEGIES, TITLES, limit

LIMITS = {
    "ours": 60,
    "ours_unseen": 30,
    "random": 20,
    "nsga2": 60,
    "tpe": 16,
    "tpe_multivariate": 16,
    "gp": 13,
    "ax": 6,
    "mo_asha": 60,
}
needs_ax = pytest.mark.skipif(find_spec("ax") is None, reason="ax-platform is not installed")


@pytest.fixture(autouse=True)
def _no_optuna_logs() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def proposals(strategy: str, seed: int) -> list[Proposal]:
    """The first proposals of a strategy on the synthetic table."""
    replay = Replay(whole_table(), limit=LIMITS[strategy])
    STRATEGIES[strategy](replay, seed)
    return replay.proposals


@pytest.mark.parametrize(
    "strategy", [pytest.param(name, marks=needs_ax if name == "ax" else ()) for name in STRATEGIES]
)
def test_proposals_depend_on_the_seed_only(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.cpp_extension", None)  # BoTorch would compile for minutes
    proposed = proposals(strategy, 3)
    assert len(proposed) == LIMITS[strategy]
    assert proposed == proposals(strategy, 3)
    assert proposed != proposals(strategy, 4)


@pytest.mark.parametrize("strategy", ["random", "nsga2", "mo_asha"])
def test_a_strategy_ends_at_the_goal(strategy: str) -> None:
    replay = Replay(whole_table(), goal=0.7)
    STRATEGIES[strategy](replay, 0)
    assert replay.share >= 0.7
    assert replay.curve[-2].share < 0.7


def test_every_strategy_has_a_title_and_a_limit() -> None:
    assert set(STRATEGIES) <= set(TITLES)
    assert set(SLOW) <= set(STRATEGIES)
    assert [limit(name) for name in ("random", "gp", "ax")] == [2000, 150, 60]


def test_mo_asha_promotes_half_and_repeats_nothing() -> None:
    replay = Replay(whole_table(), limit=200)
    mo_asha(replay, 1)
    reached = [sum(replay.rung(index) >= rung for index in range(len(replay.entries))) for rung in range(TOP + 1)]
    assert not any(proposal.repeated for proposal in replay.proposals)
    # A promoted network may have left the top half since; its rung then promotes nothing for a while.
    assert all(above <= below / 2 + 1 for below, above in pairwise(reached))
    assert reached[TOP] > 5


def test_mo_asha_trains_everything_in_the_end() -> None:
    replay = Replay(table_of([(1.0, 5.0), (2.0, 3.0), (4.0, 1.0), (3.0, 4.0)]), goal=2.0)
    mo_asha(replay, 0)
    assert replay.share == 1
    assert replay.open  # stopped because everything was trained
    assert replay.curve[-1].cached == 4


def test_the_highest_rung_is_promoted_first() -> None:
    replay = Replay(table_of([(1.0, 5.0), (2.0, 3.0), (4.0, 1.0), (3.0, 4.0)]))
    assert promotion(replay, [[0], [], [], []], 2) is None
    assert promotion(replay, [[3, 1], [], [], []], 2) == (1, 1)
    assert promotion(replay, [[3, 1, 0, 2], [1, 0], [], []], 2) == (0, 2)
    assert promotion(replay, [[3, 1, 0, 2], [1, 0], [0], []], 2) is None
    assert promotion(replay, [[3, 1, 0, 2], [1, 0], [0], []], 1) == (0, 3)


def test_a_ranking_is_front_by_front_and_spread_out() -> None:
    points = np.array([(3.0, 3.0), (1.0, 4.0), (2.0, 3.9), (4.0, 1.0), (4.0, 4.0), (2.2, 2.0)])
    # Front: 1, 2, 5, 3; the fastest, then the farthest from it, then the farthest from both.
    assert ranking(points) == [1, 3, 5, 2, 0, 4]
    assert epsilon_net(np.array([(1.0, 1.0), (1.0, 1.0)])) == [0, 1]
