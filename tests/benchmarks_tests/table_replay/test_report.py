"""Costs of made-up runs: medians, right-censored runs, ratios with intervals, and JSON lines."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.table_replay import report
from benchmarks.table_replay.report import best_peer, by_strategy, cost_of, costs_table, paid, ratio, ratio_lines
from benchmarks.table_replay.runs import Run


def run(strategy: str, seed: int, cost: float | None, spent: float = 100.0) -> Run:
    """A run that reached 90 % of the front at this cost, and 95 % at twice the cost."""
    twice = None if cost is None else 2 * cost
    curve = [(3.0, 0.5)] + ([] if cost is None else [(cost, 0.9)])
    return Run(strategy, seed, {"90": cost, "95": twice}, tuple(curve), (12, 5), 20, spent, 1.5)


def runs(strategy: str, costs: Sequence[float | None], spent: float = 100.0) -> list[Run]:
    return [run(strategy, seed, cost, spent) for seed, cost in enumerate(costs)]


def seeds(strategy: str, costs: Sequence[float | None], spent: float = 100.0) -> dict[int, Run]:
    return {each.seed: each for each in runs(strategy, costs, spent)}


# Costs


def test_a_cost_is_a_median_with_quartiles() -> None:
    cost = cost_of(runs("random", [40, 10, 20, 30, 50]), 90)
    assert (cost.median, cost.quartiles, cost.censored) == (30, (20, 40), 0)
    assert cost.text() == "30.0 (20.0 to 40.0)"
    assert cost_of(runs("random", [40, 10, 20, 30, 50]), 95).median == 60


def test_right_censored_runs_are_counted() -> None:
    cost = cost_of(runs("random", [None, 10, 20, None, 50]), 90)
    assert (cost.median, cost.censored) == (50, 2)
    assert cost.text() == "50.0 (20.0 to ∞), 2 censored"
    assert cost_of(runs("random", [None, None, 20]), 90).text() == "not reached (20.0 to ∞), 2 censored"
    assert cost_of(runs("random", [None]), 90).text() == "not reached (∞ to ∞), 1 censored"


def test_a_share_that_a_run_did_not_report_is_not_reached() -> None:
    assert paid(run("random", 0, 5.0), 90) == 5
    assert paid(run("random", 0, None), 90) == math.inf
    assert paid(run("random", 0, 5.0), 99) == math.inf


def test_runs_are_grouped_by_strategy_in_the_order_of_titles_and_then_by_seed() -> None:
    grouped = by_strategy([run("random", 2, 1.0), run("ours", 0, 1.0), run("random", 1, 1.0), run("unknown", 0, 1.0)])
    assert [(name, list(own)) for name, own in grouped.items()] == [("ours", [0]), ("random", [1, 2])]


# Ratios


def test_a_ratio_is_that_of_the_medians_over_common_seeds() -> None:
    found = ratio(seeds("ours", [10, 20, 30]), seeds("random", [40, 80, 60, 1]), 90)
    assert found is not None
    assert found.value == pytest.approx(20 / 60)
    assert (found.seeds, found.bound) == (3, False)
    low, high = found.interval
    assert 10 / 80 <= low < found.value < high <= 30 / 40
    assert found.text().startswith("0.333 (")


def test_equal_runs_have_a_ratio_of_one_without_doubt() -> None:
    found = ratio(seeds("ours", [10, 20, 30]), seeds("random", [10, 20, 30]), 90)
    assert found is not None
    assert found.text() == "1.00 (1.00 to 1.00)"


def test_a_ratio_is_an_upper_bound_if_half_of_the_other_runs_are_censored() -> None:
    """They count with what they spent, and may have needed more."""
    found = ratio(seeds("ours", [10] * 4), seeds("random", [None, None, 50, 40], spent=80.0), 90)
    assert found is not None
    assert found.value == pytest.approx(10 / 65)
    assert found.bound
    assert found.text().startswith("<= 0.154 (")
    fewer = ratio(seeds("ours", [10] * 4), seeds("random", [None, 50, 50, 40], spent=80.0), 90)
    assert fewer is not None
    assert fewer.value == pytest.approx(10 / 50)
    assert not fewer.bound


def test_a_ratio_with_censored_runs_of_the_first_strategy() -> None:
    """If their median is censored, there is none; if only some are, its interval may be unbounded."""
    assert ratio(seeds("ours", [10, None, None]), seeds("random", [40] * 3), 90) is None
    assert ratio({}, seeds("random", [40] * 3), 90) is None
    found = ratio(seeds("ours", [10, 20, 20, None, None]), seeds("random", [40] * 5), 90)
    assert found is not None
    assert (found.value, *found.interval) == pytest.approx((0.5, 0.25, math.inf))
    assert found.text() == "0.500 (0.250 to ∞)"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 50), st.floats(1, 50)), min_size=2, max_size=12), st.floats(0.1, 10))
def test_a_bootstrap_interval_is_repeatable_and_scales(costs: list[tuple[float, float]], factor: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "BOOTSTRAP_SAMPLES", 300)
        ours, other = zip(*costs, strict=True)
        found = ratio(seeds("ours", ours, 1e3), seeds("random", other, 1e3), 90)
        assert found == ratio(seeds("ours", ours, 1e3), seeds("random", other, 1e3), 90)
        scaled = ratio(seeds("ours", [factor * cost for cost in ours], 1e3), seeds("random", other, 1e3), 90)
    assert found is not None
    assert scaled is not None
    assert found.interval[0] <= found.interval[1]
    assert (scaled.value, *scaled.interval) == pytest.approx(
        (factor * found.value, *(factor * edge for edge in found.interval))
    )


def test_the_interval_covers_the_true_ratio_of_most_samples() -> None:
    """The medians of both are 10 and 40."""
    rng, covered = np.random.default_rng(0), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "BOOTSTRAP_SAMPLES", 500)
        for _ in range(100):
            ours, other = (np.exp(np.log(center) + 0.4 * rng.standard_normal(25)) for center in (10, 40))
            found = ratio(seeds("ours", ours.tolist(), 1e3), seeds("random", other.tolist(), 1e3), 90)
            assert found is not None
            covered += found.interval[0] <= 0.25 <= found.interval[1]
    assert covered >= 88


def test_the_best_peer_has_the_lowest_median() -> None:
    every = [*runs("ours", [1, 1]), *runs("random", [40, 50]), *runs("nsga2", [30, None]), *runs("mo_asha", [20, 60])]
    assert best_peer(every, 90) == "mo_asha"
    assert best_peer(every, 99) in ("random", "nsga2", "mo_asha")  # none of them reached it
    assert best_peer(runs("ours", [1, 1]), 90) is None


# Text


def test_the_table_has_the_cheapest_strategy_first_and_ours_in_bold() -> None:
    every = [*runs("random", [40, 50, 60]), *runs("ours", [10, 20, 30]), *runs("nsga2", [None, None, 30])]
    assert costs_table(every, [90, 95]).splitlines() == [
        "| Strategy | 90 % of the front | 95 % of the front | seeds |",
        "| --- | ---: | ---: | ---: |",
        "| **freeze-thaw (ours)** | 20.0 (10.0 to 30.0) | 40.0 (20.0 to 60.0) | 3 |",
        "| random | 50.0 (40.0 to 60.0) | 100 (80.0 to 120) | 3 |",
        "| NSGA-II | not reached (30.0 to ∞), 2 censored | not reached (60.0 to ∞), 2 censored | 3 |",
    ]


def test_ratios_compare_ours_with_the_best_peer_of_each_share() -> None:
    every = [*runs("random", [40] * 3), *runs("ours", [10] * 3), *runs("nsga2", [80] * 3)]
    assert ratio_lines(every, [90, 95]) == [
        "- freeze-thaw (ours), 90 %: 0.250 (0.250 to 0.250) times the cost of random, n = 3 seeds",
        "- freeze-thaw (ours), 95 %: 0.250 (0.250 to 0.250) times the cost of random, n = 3 seeds",
    ]
    assert ratio_lines(runs("random", [40] * 3), [90]) == ratio_lines(runs("ours", [40] * 3), [90]) == []


# JSON


def test_a_run_is_restored_from_its_line() -> None:
    for one in (run("ours", 3, 12.5), run("random", 0, None)):
        line = json.loads(json.dumps(one.to_json()))
        assert Run.from_json(line) == one
    assert line["costs"] == {"90": None, "95": None}
    assert json.dumps(run("random", 0, None).to_json()).count("null") == 2
