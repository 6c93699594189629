"""Importances of effective values: which choices decide error and latency."""

from dataclasses import replace

import numpy as np
from studies_tests.sample import sample_loaded

from space import DEFAULT, decode
from studies.report.importances import MAX_PARAMETERS, MIN_NETWORKS, columns, importances
from studies.study import OBJECTIVES, LoadedStudy

LAST = DEFAULT.blocks[-1]


def study_of(networks: int, seed: int = 0) -> LoadedStudy:
    """A study of random networks whose error is the growth of their first block, and whose latency is that of the last.

    Many networks lack the last block. Their latency is a constant.
    """
    base = sample_loaded(1, ())
    rng = np.random.default_rng(seed)
    made = []
    for number in range(networks):
        params = {name: int(rng.integers(d.low, d.high + 1)) for name, d in DEFAULT.distributions().items()}
        network = decode(DEFAULT, params)
        error = network.blocks[0].growth / 10
        latency_ms = network.blocks[LAST - 1].growth if len(network.blocks) == LAST else 50
        made.append(replace(base.records[0], number=number, network=network, error=error, latency_ms=latency_ms))
    return replace(base, records=made, spec=replace(base.spec, space=DEFAULT))


def test_the_choice_that_decides_an_objective_comes_first() -> None:
    found = importances(study_of(120))
    assert found["networks"] == 120
    assert found["parameters"] > MAX_PARAMETERS
    assert [one["name"] for one in found["objectives"]] == OBJECTIVES
    for objective, most in zip(found["objectives"], ("block1.growth", f"block{LAST}.growth"), strict=True):
        (first, share), *_ = objective["shares"]
        assert (first, len(objective["shares"])) == (most, MAX_PARAMETERS)
        assert 0.4 < share <= 1


def test_few_or_equal_networks_have_no_importances() -> None:
    few = study_of(MIN_NETWORKS - 1)
    assert importances(few) == {"reason": "Available after 20 fully trained networks (19 so far)"}
    equal = replace(few, records=[few.records[0]] * MIN_NETWORKS)
    assert importances(equal) == {"reason": "Not available: no parameter varies, or no objective depends on one"}


def test_networks_outside_the_space_are_left_out() -> None:
    inside = study_of(MIN_NETWORKS)
    foreign = replace(inside.records[0], network=sample_loaded(1, ()).records[0].network)
    assert importances(replace(inside, records=[*inside.records, foreign]))["networks"] == MIN_NETWORKS


def test_a_missing_value_counts_as_the_most_frequent_one() -> None:
    names, table = columns(
        [
            {"unit": "conv", "growth": 8, "pool": True, "blocks": 3},
            {"unit": "bottleneck", "growth": 16, "blocks": 3},
            {"unit": "conv", "growth": 16, "pool": True, "blocks": 3},
            {"growth": 32, "pool": False, "blocks": 3},
        ]
    )
    assert names == ["unit", "growth", "pool"]
    assert table.tolist() == [[1, 8, 1], [0, 16, 1], [1, 16, 1], [1, 32, 0]]
