"""The pool: new networks that fit the task, partly renewed in each round, some of them variations of good ones."""

from dataclasses import replace

import pytest
from search_tests.tiny import FEW, SIZE, SPACE, params_of, tiny_task

from search.samplers import pool as module
from search.samplers.candidates import descriptors_of
from search.samplers.pool import DRAWS_PER_NETWORK, MAX_CHANGES, POOL_SIZE, RENEWED_PER_ROUND, Pool
from search.task import Task
from space import Limits, Space, decode, encode, size
from threshnet.spec import NetworkSpec

LARGE = replace(SPACE, name="large", growths=tuple(range(2, 22)), transitions=tuple(range(4, 24)))  # 2,400 networks
CHEAP = 3000


def pool(space: Space = LARGE, limits: Limits | None = None, seed: int | None = 0) -> Pool:
    made = Pool(tiny_task(limits, space))
    made.reseed(None if seed is None else (seed,))
    return made


def test_a_pool_has_distinct_networks_of_the_space_with_their_descriptors() -> None:
    entries = pool().renew((), ())
    assert len(entries) == POOL_SIZE
    for name, entry in entries.items():
        assert name == entry.spec.fingerprint()
        assert entry.descriptors == descriptors_of(entry.spec, SIZE)
        assert decode(LARGE, encode(LARGE, entry.spec)) == entry.spec


def test_a_pool_has_no_network_that_was_seen() -> None:
    few = pool(FEW)
    entries = few.renew((), ())
    assert len(entries) == size(FEW).networks == 6
    seen: set[str] = set()
    while entries:
        seen.add(next(iter(entries)))
        entries = few.renew(seen, ())
        assert len(entries) == 6 - len(seen)
        assert not seen & entries.keys()


def test_every_network_of_a_pool_fits_the_task() -> None:
    entries = pool(limits=Limits(params=CHEAP)).renew((), ())
    assert len(entries) == POOL_SIZE
    assert max(params_of(entry.spec) for entry in entries.values()) <= CHEAP


def test_drawing_ends_if_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[NetworkSpec] = []
    monkeypatch.setattr(Task, "fits", lambda task, spec: checked.append(spec))
    assert pool().renew((), ()) == {}
    assert len(checked) == DRAWS_PER_NETWORK * POOL_SIZE


def test_part_of_a_pool_is_renewed_in_each_round() -> None:
    large = pool()
    before = large.renew((), ()).copy()
    after = large.renew((), ())
    assert len(after) == POOL_SIZE
    assert len(after.keys() - before.keys()) == RENEWED_PER_ROUND
    seen = set(list(after)[:50])
    assert len(large.renew(seen, ())) == POOL_SIZE


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
    assert pool(two_blocks).renew((), near)


def test_with_parents_half_of_the_draws_are_variations() -> None:
    two_blocks = replace(LARGE, blocks=(2,))
    parent = {name: d.low for name, d in two_blocks.distributions().items()}
    drawn = list(pool(two_blocks)._draws(1000, [parent]))
    near = sum(sum(params[name] != parent[name] for name in params) <= MAX_CHANGES for params in drawn)
    assert 430 <= near <= 600  # some of the random draws are near by chance
    assert len(list(pool(two_blocks)._draws(7, []))) == 7


def test_every_value_of_every_parameter_is_drawn() -> None:
    drawn = list(pool()._draws(2000, []))
    for name, d in LARGE.distributions().items():
        assert {params[name] for params in drawn} == set(range(d.low, d.high + 1))


def test_a_seed_makes_pools_repeatable() -> None:
    parent = {name: d.low for name, d in LARGE.distributions().items()}

    def rounds(seed: int) -> list[list[str]]:
        one = pool(seed=seed)
        return [list(one.renew((), parents)) for parents in ([], [parent], [parent])]

    assert rounds(0) == rounds(0)
    assert rounds(0) != rounds(1)
