"""Idle baselines during measurements: taken on an idle device, and renewed if they are wrong."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from search_tests.tiny import SIZE, SMALLEST

from search.latency import measure, reading
from search.latency.devices.cpu import Cpu
from search.latency.measure import Facts, measure_all
from search.latency.protocol import MeasurementError, Protocol
from search.latency.reading import Latency, Rounds, State

PROTOCOL = Protocol(warmup_s=0.0, min_s=0.0, max_s=0.0, retakes=1)


class Bench:
    """A bench on which the reference network takes `ms`, and every other network twice as long."""

    device = Cpu()

    def __init__(self) -> None:
        self.ms, self.steady, self.lost, self.baselines = 1.0, True, False, 0
        self.clocks, self.others, self.processors = True, 0.0, 1
        self.fails, self.noise = False, 0.0

    def load(self) -> Facts:
        return Facts("1", "abacus", (), 1, self.processors, 0, "pi")

    def rounds(self, order: Sequence[int], protocol: Protocol) -> Rounds:
        self.baselines += len(order) == 1
        if self.fails and len(order) == 1:
            raise MeasurementError("lost")
        noise = [1 + self.noise * cycle for cycle in range(6)]
        wall = tuple(tuple((self.ms * (2 if network else 1) * one,) * 16 for one in noise) for network in order)
        cpu = (
            None
            if not self.clocks
            else tuple(tuple(tuple(0.9 * ms for ms in one) for one in rounds) for rounds in wall)
            if self.lost
            else wall
        )
        state = State(load=0.25)
        return Rounds(wall, cpu, 0, self.others, "precise", self.steady, state, state)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench with baselines of its own, and readings that may be disturbed."""
    made = Bench()

    @contextlib.contextmanager
    def start(*_: object) -> Iterator[Bench]:
        yield made

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(measure, "bench", start)
    monkeypatch.setattr(measure, "disturbances", reading.disturbances)
    monkeypatch.setattr(measure, "OUTDATED", 0.95)
    monkeypatch.setattr(measure, "MAX_LOST", 0.05)
    monkeypatch.setattr(measure, "MAX_WIDTH", 0.05)
    return made


def taken(*, recalibrate: bool = False) -> Latency:
    (latency,) = measure_all(Cpu(), [SMALLEST], SIZE, "onnxruntime", PROTOCOL, recalibrate=recalibrate)
    return latency


def test_a_reading_has_its_baseline(bench: Bench) -> None:
    latency = taken()
    assert latency.baseline is not None
    assert (latency.baseline.ms, latency.baseline.host, latency.baseline.load) == (1.0, "pi", 0.25)
    assert (latency.reference_ms, latency.latency_ms) == (1.0, 2.0)
    assert taken().baseline == latency.baseline
    assert bench.baselines == 1


@pytest.mark.parametrize(("ms", "renewed"), [(0.97, False), (0.9, True), (1.3, False)])
def test_a_baseline_is_renewed_if_the_reference_is_faster_now(ms: float, renewed: bool, bench: Bench) -> None:
    taken()
    bench.ms = ms
    latency = taken()
    assert bench.baselines == 1 + renewed
    assert latency.reference_ms == (ms if renewed else 1.0)
    assert latency.latency_ms == 2 * latency.reference_ms
    assert not any("outdated" in warning for warning in latency.warnings)


@pytest.mark.parametrize("sign", ["steady", "lost"])
def test_a_baseline_of_a_busy_device_is_taken_again(sign: str, bench: Bench) -> None:
    setattr(bench, sign, sign == "lost")
    busy = taken()
    assert busy.baseline is not None
    assert busy.baseline.disturbed
    assert bench.baselines == 1 + PROTOCOL.retakes + (sign == "lost")  # once more after an undisturbed reading
    taken()
    assert bench.baselines == 1 + PROTOCOL.retakes + 2 * (sign == "lost")
    setattr(bench, sign, sign != "lost")
    assert busy.disturbed
    assert any("busy baseline" in warning for warning in busy.warnings)
    bench.ms = 0.99
    idle = taken()
    assert idle.baseline is not None
    assert not idle.baseline.disturbed
    assert idle.latency_ms == pytest.approx(1.98)
    bench.baselines = 0
    assert taken().baseline == idle.baseline
    assert bench.baselines == 0


def test_a_failed_renewal_keeps_the_reading(bench: Bench) -> None:
    taken()
    bench.ms, bench.fails = 0.9, True
    assert taken().latency_ms == pytest.approx(2.0)


def test_a_wide_baseline_is_disturbed(bench: Bench) -> None:
    bench.noise = 0.2
    assert taken().used_baseline.disturbed


def test_a_baseline_is_renewed_on_demand(bench: Bench) -> None:
    taken()
    bench.ms = 1.5
    assert taken().latency_ms == 2.0
    assert taken(recalibrate=True).latency_ms == 3.0


@pytest.mark.parametrize(("others", "threads", "missing"), [(0.1, 1, 0.0), (0.75, 4, 0.75), (3.0, 2, 1.0)])
def test_threads_that_lack_processors_disturb_a_reading(
    others: float, threads: int, missing: float, bench: Bench
) -> None:
    """Without CPU times, on four processors."""
    bench.clocks, bench.others, bench.processors = False, others, 4
    (latency,) = measure_all(Cpu(), [SMALLEST], SIZE, "onnxruntime", replace(PROTOCOL, threads=threads))
    assert latency.missing == missing
    assert latency.disturbed == (missing > 0)
    assert latency.used_baseline.disturbed == (missing > 0)
