"""The pool: new networks that fit, a part of them renewed in each round, some near those that did well."""

from dataclasses import replace

import pytest
from search_tests.tiny import FEW, SIZE, SPACE, params_of, tiny_task

from search.samplers import pool as module
from search.samplers.candidates import describe
from search.samplers.pool import CHANGES, PATIENCE, RENEWED, Pool
from search.samplers.pool import SIZE as WANTED
from search.task import Task
from space import Limits, Space, decode, encode, size
from threshnet.spec import NetworkSpec

LARGE = replace(SPACE, name="large", growths=tuple(range(2, 22)), transitions=tuple(range(4, 24)))  # 2,400 networks
CHEAP = 3000


def pool(space: Space = LARGE, limits: Limits | None = None, seed: int | None = 0) -> Pool:
    made = Pool(tiny_task(limits, space))
    made.reseed(None if seed is None else (seed,))
    return made


def test_a_pool_is_of_distinct_networks_of_the_space_with_their_descriptions() -> None:
    drawn = pool().renew((), ())
    assert len(drawn) == WANTED
    for name, each in drawn.items():
        assert name == each.spec.fingerprint()
        assert each.described == describe(each.spec, SIZE)
        assert decode(LARGE, encode(LARGE, each.spec)) == each.spec


def test_no_network_of_a_pool_is_known() -> None:
    of_few = pool(FEW)
    drawn = of_few.renew((), ())
    assert len(drawn) == size(FEW).networks == 6
    known: set[str] = set()
    while drawn:
        known.add(next(iter(drawn)))
        drawn = of_few.renew(known, ())
        assert len(drawn) == 6 - len(known)
        assert not known & drawn.keys()


def test_all_of_a_pool_fit() -> None:
    drawn = pool(limits=Limits(params=CHEAP)).renew((), ())
    assert len(drawn) == WANTED
    assert max(params_of(each.spec) for each in drawn.values()) <= CHEAP


def test_where_nothing_fits_drawing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[NetworkSpec] = []
    monkeypatch.setattr(Task, "fits", lambda task, spec: asked.append(spec))
    assert pool().renew((), ()) == {}
    assert len(asked) == PATIENCE * WANTED


def test_a_part_of_a_pool_is_renewed() -> None:
    large = pool()
    before = large.renew((), ()).copy()
    after = large.renew((), ())
    assert len(after) == WANTED
    assert len(after.keys() - before.keys()) == RENEWED
    known = set(list(after)[:50])
    assert len(large.renew(known, ())) == WANTED


@pytest.mark.parametrize("parents", [1, 3])
def test_near_a_parent_few_parameters_differ(monkeypatch: pytest.MonkeyPatch, parents: int) -> None:
    monkeypatch.setattr(module, "NEAR", 1.0)
    two_blocks = replace(LARGE, blocks=(2,))  # eight parameters
    distributions = two_blocks.distributions()
    near = [{name: d.low + shift for name, d in distributions.items()} for shift in range(parents)]
    drawn = list(pool(two_blocks)._draws(300, near))
    changes = [min(sum(params[name] != parent[name] for name in params) for parent in near) for params in drawn]
    assert 0 < max(changes) <= CHANGES
    assert set(changes) == set(range(CHANGES + 1))  # a parameter may be drawn as it was
    assert all(d.low <= params[name] <= d.high for params in drawn for name, d in distributions.items())
    assert pool(two_blocks).renew((), near)


def test_with_parents_half_of_the_draws_are_near_them() -> None:
    two_blocks = replace(LARGE, blocks=(2,))
    parent = {name: d.low for name, d in two_blocks.distributions().items()}
    drawn = list(pool(two_blocks)._draws(1000, [parent]))
    near = sum(sum(params[name] != parent[name] for name in params) <= CHANGES for params in drawn)
    assert 430 <= near <= 600  # by chance some of the others are near too
    assert len(list(pool(two_blocks)._draws(7, []))) == 7


def test_every_value_of_every_parameter_is_drawn() -> None:
    drawn = list(pool()._draws(2000, []))
    for name, d in LARGE.distributions().items():
        assert {params[name] for params in drawn} == set(range(d.low, d.high + 1))


def test_a_seed_gives_the_same_pools_again() -> None:
    parent = {name: d.low for name, d in LARGE.distributions().items()}

    def rounds(seed: int) -> list[list[str]]:
        one = pool(seed=seed)
        return [list(one.renew((), parents)) for parents in ([], [parent], [parent])]

    assert rounds(0) == rounds(0)
    assert rounds(0) != rounds(1)
