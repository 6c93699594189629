"""Comparing networks: verdicts in closed form, intervals on simulated loads, and one true run."""

import numpy as np
import pytest
from numpy.typing import NDArray
from search_tests.tiny import LARGEST, QUICK, SIZE, SMALLEST

from search.latency.compare import LIMIT_S, LOADS, Comparison, Pair, Verdict, _pair, compare_on
from search.latency.devices.named import device_named
from search.latency.measure import Facts
from search.latency.reading import Rounds, State
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


def simulated(ratio: float, of_load: float, of_cycle: float, seed: int) -> list[NDArray[np.float64]]:
    """Medians (2, 8) of each load: a common factor for each load and noise in each cycle, both lognormal."""
    rng = np.random.default_rng(seed)
    factors = ratio * rng.lognormal(0, of_load, LOADS)
    return [np.stack([f * rng.lognormal(0, of_cycle, 8), rng.lognormal(0, of_cycle, 8)]) for f in factors]


def test_the_interval_holds_the_true_ratio_though_loads_differ() -> None:
    found = [_pair(simulated(1.3, 0.01, 0.005, seed), 0, 1, np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean([pair.low <= 1.3 <= pair.high for pair in found]) >= 0.85  # six loads are few
    assert np.median([pair.high / pair.low for pair in found]) < 1.04


def test_swapping_the_networks_inverts_the_ratio() -> None:
    loads = simulated(1.3, 0.01, 0.005, 0)
    there, back = (_pair(loads, *order, np.random.default_rng(0)) for order in ((0, 1), (1, 0)))
    assert there.ratio == pytest.approx(1 / back.ratio, rel=1e-3)


@pytest.mark.xdist_group("timed")
def test_networks_are_compared_pair_by_pair_in_one_run() -> None:
    found = compare_on(device_named("cpu"), (SMALLEST, LARGEST, SMALLEST), SIZE, "onnxruntime", QUICK, limit_s=1.0)
    assert [(pair.a, pair.b) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    smaller, itself, larger = found.pairs
    assert smaller.ratio < 1 < larger.ratio
    assert itself.ratio == pytest.approx(1.0, abs=0.25)  # six cycles of microseconds
    assert all(pair.low <= pair.ratio <= pair.high for pair in found.pairs)
    assert found.cycles >= 6 * found.loads >= 6 * LOADS
    assert found.processor
    assert found.runtime_version


class Loading:
    """A bench on which network 1 takes `ratio` times as long as network 0; every load takes 2 s of a fake clock."""

    def __init__(self, ratio: float, of_load: float) -> None:
        self.loads, self.ratio, self.of_load, self.random = 0, ratio, of_load, np.random.default_rng(0)

    def __enter__(self) -> "Loading":
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def load(self) -> Facts:
        self.loads += 1
        return Facts("1", "abacus", (), 1, 1, 0)

    def rounds(self, order: object, protocol: object) -> Rounds:
        factor = self.ratio * self.random.lognormal(0, self.of_load)
        first = tuple((self.random.lognormal(0, 0.003),) * 16 for _ in range(8))
        second = tuple((factor * self.random.lognormal(0, 0.003),) * 16 for _ in range(8))
        return Rounds((second, first), None, 0, "time", True, State(), State())

    def clock(self) -> float:
        return 2.0 * self.loads

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
    bench = Loading(1.0, 0.03)
    found = bench.compared(monkeypatch)
    assert found.loads == bench.loads > LOADS
    assert found.pairs[0].verdict == "SAME" or found.loads == LIMIT_S / 2


def test_time_runs_out_for_a_ratio_at_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Loading(1.02, 0.01).compared(monkeypatch)
    assert (found.pairs[0].verdict, found.loads) == ("UNDECIDED", LIMIT_S / 2)


def test_networks_5_percent_apart_are_never_the_same() -> None:
    for seed in range(200):
        assert _pair(simulated(1.05, 0.012, 0.006, seed), 0, 1, np.random.default_rng(seed)).verdict != "SAME"


def test_a_size_that_is_pooled_away_is_refused() -> None:
    with pytest.raises(InputError):
        compare_on(device_named("cpu"), (SMALLEST, LARGEST), 0, "onnxruntime", QUICK)
