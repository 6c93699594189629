"""Every strategy on synthetic tables: repeatable for a seed, within its networks and budget, and paying once."""

from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import optuna
import pytest
from benchmarks_tests.made_up_tables import OPTIONS, chosen_table, table_of

from benchmarks.table_replay.optuna_peers import REDRAWS, Proposals, Values, search_with
from benchmarks.table_replay.ours import READ_FIRST, features
from benchmarks.table_replay.replay import READING, Replay
from benchmarks.table_replay.strategies import NEED_RUNGS, OURS, SLOW, STRATEGIES, TITLES, default
from benchmarks.table_replay.table import Table
from search.samplers.features import features_of

NEEDS_BOTORCH = (
    pytest.mark.skipif(find_spec("botorch") is None, reason="botorch is not installed"),
    pytest.mark.filterwarnings("ignore"),  # BoTorch and what it imports use deprecated functions
)
ALL = [pytest.param(name, marks=NEEDS_BOTORCH if name == "gp" else ()) for name in STRATEGIES]
NEVER = 2.0  # a goal that no search reaches


@pytest.fixture(autouse=True)
def _no_optuna_logs() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def searched(strategy: str, table: Table, seed: int = 0, budget: float = 8.0, goal: float = NEVER) -> Replay:
    """The replay after a search."""
    replay = Replay(table, seed, budget=budget, goal=goal)
    STRATEGIES[strategy](replay, seed)
    return replay


def outcome(replay: Replay) -> tuple[object, ...]:
    """Everything that a search did, in its order."""
    return list(replay.latency), [(name, list(errors)) for name, errors in replay.errors.items()], replay.curve


def owed(replay: Replay) -> float:
    """The cost of all readings and trainings, each paid once."""
    costs, resumes = replay.table.costs, replay.table.resumes
    paid = [costs[list(rungs)] for rungs in replay.errors.values() if rungs]
    return READING * len(replay.latency) + float(sum(each.max() if resumes else each.sum() for each in paid))


@pytest.mark.parametrize("choices", [True, False])
@pytest.mark.parametrize("strategy", ALL)
def test_a_search_depends_on_the_seed_only(strategy: str, choices: bool) -> None:
    table = chosen_table(choices=choices)
    first, again, other = (searched(strategy, table, seed) for seed in (3, 3, 4))
    assert outcome(first) == outcome(again)
    assert outcome(first) != outcome(other)


@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize("strategy", ALL)
def test_a_search_ends_and_pays_each_training_once(strategy: str, resumes: bool) -> None:
    """Without a goal, it ends once all networks of its seed are trained to the end."""
    replay = searched(strategy, chosen_table(resumes=resumes), budget=1e6)
    assert set(replay.trained(replay.top)) == set(replay.networks.tolist()) == set(replay.errors)
    assert len(replay.curve) == len(replay.networks)
    assert replay.share == 1
    assert replay.cost == pytest.approx(owed(replay))


@pytest.mark.parametrize("strategy", ALL)
def test_a_search_stays_within_its_networks_and_budget(strategy: str) -> None:
    replay = searched(strategy, chosen_table(choices=False))
    assert set(replay.errors) <= set(replay.latency) <= set(replay.networks.tolist())
    assert replay.cost == pytest.approx(owed(replay))
    assert replay.budget <= replay.cost < replay.budget + 1 + READ_FIRST * READING


@pytest.mark.parametrize("strategy", ALL)
def test_a_search_ends_at_its_goal(strategy: str) -> None:
    replay = searched(strategy, chosen_table(), budget=1e6, goal=0.9)
    assert replay.share >= 0.9
    assert len(replay.curve) <= 3 or replay.curve[-2].share < 0.9  # the first three are trained whatever happens


@pytest.mark.parametrize("strategy", ALL)
def test_every_search_trains_the_same_networks_first(strategy: str) -> None:
    replay = searched(strategy, chosen_table(), seed=2)
    assert tuple(replay.trained(replay.top)[:3]) == Replay(chosen_table(), 2, budget=1).starts


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in (*NEED_RUNGS, "gp")])
def test_searches_without_rungs_train_to_the_end_only(strategy: str) -> None:
    replay = searched(strategy, chosen_table())
    assert replay.trained(0) == []
    assert replay.trained(1)


@pytest.mark.parametrize("strategy", NEED_RUNGS)
def test_searches_with_rungs_train_many_networks_to_the_lowest_one(strategy: str) -> None:
    replay = searched(strategy, chosen_table())
    assert len(replay.trained(0)) > len(replay.trained(1)) >= 3


def test_names_titles_and_defaults() -> None:
    assert STRATEGIES.keys() == TITLES.keys()
    assert set(OURS) | set(NEED_RUNGS) | set(SLOW) <= STRATEGIES.keys()
    assert default(rungs=True) == tuple(name for name in STRATEGIES if name != "gp")
    assert default(rungs=False) == tuple(name for name in STRATEGIES if name not in (*NEED_RUNGS, "gp"))


# Optuna's samplers


def test_without_choices_a_proposal_is_the_nearest_network_that_was_not_yet_proposed() -> None:
    """Three networks at 1, 2 and 4 ms, which is their descriptor, too."""
    proposals = Proposals(Replay(table_of([(1, 40), (2, 30), (4, 20)]), 0, budget=9))
    found = []
    while left := proposals.left():
        network = proposals.network_of({"macs": 3.1})
        assert network in left
        found.append(network)
        proposals.started.add(network)
    assert found == [2, 1, 0]


def test_distances_are_relative_to_the_range_of_each_descriptor() -> None:
    table = chosen_table(choices=False)
    replay = Replay(table, 0, budget=9)
    proposals = Proposals(replay)
    for network in replay.networks[::4].tolist():
        values = proposals.values_of(network)
        assert values == dict(zip(("macs", "last"), table.descriptors[network].tolist(), strict=True))
        found = proposals.network_of(values)
        assert found is not None
        assert (table.descriptors[found] == table.descriptors[network]).all()
    scaled = table.descriptors / np.ptp(table.descriptors, axis=0)
    away = ((scaled[replay.networks] - scaled[:1] - 0.1) ** 2).sum(axis=1)
    wanted = dict(
        zip(table.descriptor_names, table.descriptors[0] + 0.1 * np.ptp(table.descriptors, axis=0), strict=True)
    )
    found = proposals.network_of({name: float(value) for name, value in wanted.items()})
    assert found is not None
    assert away[replay.networks.tolist().index(found)] == pytest.approx(away.min())


def test_with_choices_a_proposal_is_the_network_that_its_row_stands_for() -> None:
    table, replay = chosen_table(), Replay(chosen_table(), 0, budget=9)
    proposals = Proposals(replay)
    found = {}
    for row, codes in enumerate(table.row_choices):
        values: Values = {name: OPTIONS[code] for name, code in zip(table.options, codes, strict=True)}
        found[row] = proposals.network_of(values)
        network = int(table.row_networks[row])
        assert found[row] == (network if replay.has(network) else None)
    assert found[5] == found[4]
    assert proposals.network_of(dict.fromkeys(table.options, "none")) is None  # not in the table
    for network in replay.networks.tolist():
        assert proposals.network_of(proposals.values_of(network)) == network


def test_a_random_network_is_added_after_many_known_proposals() -> None:
    """Here the sampler proposes the same network forever."""

    class Stuck(optuna.samplers.RandomSampler):
        def sample_independent(self, *_: object, **__: object) -> str:
            return "conv"

    replay = Replay(chosen_table(), 0, budget=1e6, goal=NEVER)
    asked: list[int] = []
    network_of = Proposals.network_of

    def counted(self: Proposals, values: Values) -> int | None:
        asked.append(len(self.started))
        return network_of(self, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Proposals, "network_of", counted)
        search_with(Stuck(), replay, np.random.default_rng(0), rungs=False)
    assert len(replay.trained(replay.top)) == len(replay.networks)
    started = [asked.count(number) for number in sorted(set(asked))]
    assert max(started) == REDRAWS


# Ours


def test_options_that_choices_share_are_counted_whatever_their_order() -> None:
    """In the table, the options of the second choice appear in another order."""
    table = chosen_table()
    codes = table.choices.copy()
    codes[:, 1] = np.array([2, 0, 1])[codes[:, 1]]
    options = dict(table.options) | {"second": ("conv", "pool", "none")}
    shuffled = replace(table, options=options, choices=codes)
    networks = Replay(table, 0, budget=9).networks
    expected = features_of(table.descriptors[networks], table.choices[networks], [(0, 1, 2)])
    for each in (table, shuffled):
        found = features(each, networks)
        assert found.columns == pytest.approx(expected.columns)
        assert found.groups.tolist() == expected.groups.tolist()


def test_options_of_a_single_choice_are_not_counted() -> None:
    table = chosen_table()
    options = {"first": ("a", "b", "c"), "second": ("d", "e", "f"), "third": ("a", "b", "g")}
    found = features(replace(table, options=options), np.arange(len(table)))
    assert found.count == 2 + 3


def test_ours_scores_some_networks_at_the_lowest_rung_before_values_decide() -> None:
    """Two at a cost of 0.2 each, which is at most half of a full training."""
    replay = searched("ours", chosen_table(), budget=3 * 1.21 + 2 * 0.21)
    assert len(replay.trained(1)) in (3, 4)
    assert len(replay.trained(0)) >= 4


def test_ours_reads_more_latencies_than_it_trains_networks() -> None:
    replay = searched("ours_no_rung", chosen_table())
    assert len(replay.latency) > len(replay.errors)


# Other peers


def test_mo_asha_promotes_at_most_half() -> None:
    replay = searched("mo_asha", table_of([(1.0 + n, 60.0 - n) for n in range(50)], (0.1, 0.4)), budget=12)
    reached = [len(replay.trained(rung)) for rung in range(3)]
    # The first three are trained to the end whatever their rank. A network may leave the best half later.
    assert all(above <= below / 2 + 3 for below, above in pairwise(reached))
    assert reached[0] > 20


def test_macs_ranks_trains_the_largest_networks_for_their_latency_first() -> None:
    """Then those that only networks of the first rank exceed, and so on; each rank from the fastest to the slowest."""
    rng = np.random.default_rng(0)
    latency, size, error = rng.uniform(1, 9, 30), rng.uniform(1, 9, 30), rng.uniform(5, 60, 30)
    replay = searched(
        "macs_ranks", table_of(np.column_stack([latency, error]).tolist(), sizes=size.tolist()), budget=1e6
    )
    left, expected = set(replay.networks.tolist()), []
    while left:
        rank = {
            one for one in left if not any(latency[each] < latency[one] and size[each] > size[one] for each in left)
        }
        expected += sorted(rank, key=lambda one: latency[one])
        left -= rank
    assert [one for one in replay.trained(replay.top) if one not in replay.starts] == [
        one for one in expected if one not in replay.starts
    ]
    assert len(replay.latency) == len(replay.networks)
