"""Comparing networks: verdicts in closed form, intervals of simulated loads, and one true run."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from search_tests.tiny import LARGEST, QUICK, SIZE, SMALLEST

from search.latency.compare import (
    LIMIT_S,
    LOADS,
    MIN_LOADS,
    Comparison,
    Pair,
    Verdict,
    compare_on,
    compared,
    pseudomedian,
)
from search.latency.devices.named import device_named
from search.latency.measure import Facts
from search.latency.protocol import Plan
from search.latency.reading import UNSTEADY, Rounds, State
from threshnet.errors import InputError


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.98, 1.02, "SAME"),
        (0.99, 1.01, "SAME"),
        (0.50, 0.97, "FASTER"),
        (1.03, 2.00, "SLOWER"),
        (0.97, 1.01, "UNDECIDED"),
        (0.99, 1.03, "UNDECIDED"),
        (0.97, 0.985, "UNDECIDED"),  # touches the margin
        (0.90, 1.10, "UNDECIDED"),
    ],
)
def test_the_verdict_follows_from_the_interval(low: float, high: float, verdict: Verdict) -> None:
    assert Pair(0, 1, (low + high) / 2, low, high).verdict == verdict


def simulated(ratio: float, of_load: float, seed: int, loads: int = LOADS) -> NDArray[np.float64]:
    """Latencies (loads, 2) with a ratio of lognormal noise."""
    factors = ratio * np.random.default_rng(seed).lognormal(0, of_load, loads)
    return np.stack([factors, np.ones(loads)], axis=1)


def test_the_interval_holds_the_true_ratio() -> None:
    pairs = [compared(simulated(1.3, 0.02, seed))[0] for seed in range(200)]
    assert np.mean([pair.low <= 1.3 <= pair.high for pair in pairs]) >= 0.95
    assert np.median([pair.high / pair.low for pair in pairs]) < 1.04


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [6, 7, 12, 25, 50])
def test_the_interval_of_the_pseudomedian_is_that_of_the_signed_rank_test(n: int, seed: int) -> None:
    """A median outside of the interval is refused by the exact test of scipy at 5 %, one inside is not."""
    values = np.random.default_rng(seed).standard_normal(n)
    middle, low, high = pseudomedian(values)
    assert low <= middle <= high
    for median, refused in ((low - 1e-9, True), (low + 1e-9, False), (high - 1e-9, False), (high + 1e-9, True)):
        assert (wilcoxon(values - median, method="exact").pvalue <= 0.05) == refused


@pytest.mark.parametrize("n", [51, 200])
def test_the_interval_of_many_values_is_approximated(n: int) -> None:
    values = np.random.default_rng(0).standard_normal(n)
    _, low, high = pseudomedian(values)
    for median in (low, high):
        assert wilcoxon(values - median, method="approx").pvalue == pytest.approx(0.05, abs=0.002)


def test_an_outlier_hardly_changes_the_pseudomedian() -> None:
    values = np.random.default_rng(0).standard_normal(30)
    assert pseudomedian(values) == pytest.approx(pseudomedian(np.append(values[:-1], 1e6)), abs=0.35)


def test_swapping_the_networks_inverts_the_ratio() -> None:
    loads = simulated(1.3, 0.01, 0)
    (there,), (back,) = compared(loads), compared(loads[:, ::-1])
    assert (there.ratio, there.low, there.high) == pytest.approx((1 / back.ratio, 1 / back.high, 1 / back.low))


@pytest.mark.xdist_group("timed")
def test_networks_are_compared_pair_by_pair_in_one_run() -> None:
    found = compare_on(device_named("cpu"), (SMALLEST, LARGEST, SMALLEST), SIZE, "onnxruntime", QUICK, limit_s=15.0)
    assert [(pair.a, pair.b) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    smaller, itself, larger = found.pairs
    assert smaller.ratio < 1 < larger.ratio
    assert itself.ratio == pytest.approx(1.0, abs=0.25)  # six cycles of microseconds
    assert all(pair.low <= pair.ratio <= pair.high for pair in found.pairs)
    assert found.loads >= LOADS
    assert found.processor
    assert found.runtime_version


FIRST_SLOWER = 1.08


class Loading:
    """A bench on which network 0 takes `ratio` times as long as network 1; every load takes 0.5 s of a fake clock."""

    def __init__(self, ratio: float, of_load: float, steady: int = 1) -> None:
        self.loads, self.ratio, self.of_load, self.steady = 0, ratio, of_load, steady
        self.backwards = False
        self.random = np.random.default_rng(0)

    def __enter__(self) -> "Loading":
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def load(self, *, backwards: bool) -> Facts:
        self.loads += 1
        self.backwards = backwards
        return Facts("1", "abacus", (), 1, 1, 0)

    def rounds(self, order: object, plan: Plan) -> Rounds:
        """The network that was loaded first is slower."""
        factor = self.ratio * self.random.lognormal(0, self.of_load)
        loaded = (1.0, factor) if self.backwards else (factor, 1.0)
        first, second = (((ms,) * 16,) * plan.min_cycles for ms in (FIRST_SLOWER * loaded[0], loaded[1]))
        return Rounds((first, second), None, 0, None, "time", self.loads % self.steady == 0, State(), State())

    def clock(self) -> float:
        return 0.5 * self.loads

    def compared(self, monkeypatch: pytest.MonkeyPatch) -> Comparison:
        monkeypatch.setattr("search.latency.compare.bench", lambda *arguments: self)
        return compare_on(device_named("cpu"), (LARGEST, SMALLEST), SIZE, "onnxruntime", QUICK, clock=self.clock)


@pytest.mark.parametrize(
    ("ratio", "of_load", "verdict", "loads"), [(1.0, 0.001, "SAME", LOADS), (1.3, 0.01, "SLOWER", LOADS)]
)
def test_a_clear_comparison_ends_early(
    ratio: float, of_load: float, verdict: Verdict, loads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Loading(ratio, of_load).compared(monkeypatch)
    assert ([pair.verdict for pair in found.pairs], found.loads) == ([verdict], loads)


def test_an_unclear_comparison_continues_until_it_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Loading(1.0, 0.04)
    found = bench.compared(monkeypatch)
    assert found.loads == bench.loads > LOADS
    assert found.pairs[0].verdict == "SAME" or found.loads == LIMIT_S / 0.5


def test_time_runs_out_for_a_ratio_at_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Loading(1.02, 0.01).compared(monkeypatch)
    assert (found.pairs[0].verdict, found.loads) == ("UNDECIDED", LIMIT_S / 0.5)


def test_a_slow_device_is_loaded_as_often_as_an_interval_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Loading(1.0, 0.001)
    monkeypatch.setattr("search.latency.compare.bench", lambda *arguments: bench)
    found = compare_on(
        device_named("cpu"), (LARGEST, SMALLEST), SIZE, "onnxruntime", QUICK, limit_s=0.1, clock=bench.clock
    )
    assert found.loads == MIN_LOADS


@pytest.mark.parametrize(("steady", "warned"), [(1, False), (2, False), (3, True)])
def test_a_warning_follows_if_most_loads_were_not_steady(
    steady: int, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every load, every second one, or every third one is steady."""
    found = Loading(1.0, 0.001, steady).compared(monkeypatch)
    assert (UNSTEADY in found.warnings) == warned


@pytest.mark.parametrize("loads", range(LOADS, 60, 10))
def test_networks_5_percent_apart_are_never_the_same(loads: int) -> None:
    for seed in range(200):
        assert compared(simulated(1.05, 0.045, seed, loads))[0].verdict != "SAME"


def test_a_size_that_is_pooled_away_is_refused() -> None:
    with pytest.raises(InputError):
        compare_on(device_named("cpu"), (SMALLEST, LARGEST), 0, "onnxruntime", QUICK)
