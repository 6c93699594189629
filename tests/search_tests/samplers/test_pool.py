"""The pool: new networks that fit the task. It grows until it is full, and then the least promising ones leave it."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from search_tests.tiny import FEW, SIZE, SPACE, params_of, tiny_task

from search.samplers import pool as module
from search.samplers.candidates import descriptors_of
from search.samplers.pool import (
    ADDED_PER_ROUND,
    DRAWS_PER_NETWORK,
    FIRST_ROUND,
    MAX_CHANGES,
    NEAR_PARENT_SHARE,
    Pool,
    PoolEntry,
)
from search.task import Task
from space import Limits, Space, decode, encode, size
from threshnet.spec import NetworkSpec

LARGE = replace(SPACE, name="large", growths=tuple(range(2, 22)), transitions=tuple(range(4, 24)))  # 2,400 networks
HUGE = replace(SPACE, name="huge", growths=tuple(range(2, 202)), transitions=tuple(range(4, 204)))  # 240,000 networks
CHEAP = 3000
FULL = 220  # size of a pool that is full after the second round of growth


def pool(space: Space = LARGE, limits: Limits | None = None, seed: int | None = 0) -> Pool:
    made = Pool(tiny_task(limits, space))
    made.reseed(None if seed is None else (seed,))
    return made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pool be full soon."""
    monkeypatch.setattr(module, "POOL_SIZE", FULL)


def renewed(one: Pool, worth: Mapping[str, float] | None = None) -> dict[str, PoolEntry]:
    """A copy of the next round without parents."""
    return dict(one.renew((), (), worth or {}))


def test_a_pool_has_distinct_networks_of_the_space_with_their_descriptors() -> None:
    entries = renewed(pool())
    assert len(entries) == FIRST_ROUND
    for name, entry in entries.items():
        assert name == entry.spec.fingerprint()
        assert entry.descriptors == descriptors_of(entry.spec, SIZE)
        assert decode(LARGE, encode(LARGE, entry.spec)) == decode(LARGE, dict(entry.params)) == entry.spec


def test_a_pool_has_no_network_that_was_seen() -> None:
    few = pool(FEW)
    entries = few.renew((), (), {})
    assert len(entries) == size(FEW).networks == 6
    seen: set[str] = set()
    while entries:
        seen.add(next(iter(entries)))
        entries = few.renew(seen, (), {})
        assert len(entries) == 6 - len(seen)
        assert not seen & entries.keys()


def test_every_network_of_a_pool_fits_the_task() -> None:
    limited = pool(limits=Limits(params=CHEAP))
    assert len(renewed(limited)) == FIRST_ROUND
    assert max(params_of(entry.spec) for entry in renewed(limited).values()) <= CHEAP


def test_drawing_ends_if_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[NetworkSpec] = []
    monkeypatch.setattr(Task, "fits", lambda task, spec: checked.append(spec))
    assert renewed(pool()) == {}
    assert len(checked) == DRAWS_PER_NETWORK * FIRST_ROUND


def test_a_pool_grows_and_keeps_its_networks_until_it_is_full(small: None) -> None:
    large = pool(HUGE)
    rounds = [renewed(large) for _ in range(4)]
    assert [len(entries) for entries in rounds] == [FIRST_ROUND, FIRST_ROUND + ADDED_PER_ROUND, FULL, FULL]
    assert rounds[0].keys() < rounds[1].keys()
    assert len(rounds[1].keys() - rounds[2].keys()) == FIRST_ROUND + 2 * ADDED_PER_ROUND - FULL
    assert len(rounds[2].keys() - rounds[3].keys()) == ADDED_PER_ROUND
    seen = set(list(rounds[3])[:70])
    assert len(large.renew(seen, (), {})) == FULL - 70 + ADDED_PER_ROUND


def test_networks_of_the_least_worth_leave_a_full_pool_and_new_ones_stay(small: None) -> None:
    large = pool(HUGE)
    renewed(large)
    before = renewed(large)
    worth = {name: float(number % 97) for number, name in enumerate(before)}
    worth |= dict.fromkeys(list(before)[:5], -float("inf"))
    for name in list(before)[5:10]:  # never valued, e.g. drawn after the last values
        del worth[name]
    after = renewed(large, worth)
    left = before.keys() - after.keys()
    assert set(list(before)[:5]) <= left
    assert set(list(before)[5:10]) <= after.keys()
    assert max(worth[name] for name in left) <= min(worth[name] for name in before.keys() - left if name in worth)
    fresh = after.keys() - before.keys()
    assert fresh <= renewed(large, worth).keys()


@pytest.mark.parametrize("parents", [1, 3])
def test_variations_differ_from_a_parent_in_few_parameters(monkeypatch: pytest.MonkeyPatch, parents: int) -> None:
    monkeypatch.setattr(module, "NEAR_PARENT_SHARE", 1.0)
    two_blocks = replace(LARGE, blocks=(2,))  # eight parameters
    distributions = two_blocks.distributions()
    near = [{name: d.low + shift for name, d in distributions.items()} for shift in range(parents)]
    drawn = list(pool(two_blocks)._draws(300, near))
    changes = [min(sum(params[name] != parent[name] for name in params) for parent in near) for params in drawn]
    assert 0 < max(changes) <= MAX_CHANGES
    assert set(changes) == set(range(MAX_CHANGES + 1))  # a parameter may be redrawn with the same value
    assert all(d.low <= params[name] <= d.high for params in drawn for name, d in distributions.items())
    assert pool(two_blocks).renew((), near, {})


def test_with_parents_most_draws_are_variations() -> None:
    two_blocks = replace(LARGE, blocks=(2,))
    parent = {name: d.low for name, d in two_blocks.distributions().items()}
    drawn = list(pool(two_blocks)._draws(1000, [parent]))
    near = sum(sum(params[name] != parent[name] for name in params) <= MAX_CHANGES for params in drawn)
    # Some of the random draws are near by chance.
    assert 1000 * NEAR_PARENT_SHARE - 50 <= near <= 1000 * NEAR_PARENT_SHARE + 100
    assert len(list(pool(two_blocks)._draws(7, []))) == 7


def test_every_value_of_every_parameter_is_drawn() -> None:
    drawn = list(pool()._draws(2000, []))
    for name, d in LARGE.distributions().items():
        assert {params[name] for params in drawn} == set(range(d.low, d.high + 1))


def test_a_seed_makes_pools_repeatable() -> None:
    parent = {name: d.low for name, d in LARGE.distributions().items()}

    def rounds(seed: int) -> list[list[str]]:
        one = pool(seed=seed)
        return [list(one.renew((), parents, {})) for parents in ([], [parent], [parent])]

    assert rounds(0) == rounds(0)
    assert rounds(0) != rounds(1)
