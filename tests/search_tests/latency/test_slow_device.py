"""A device on which a reading takes many times the timeout: it succeeds, and says at first how long it takes."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search_tests.tiny import SIZE, SMALLEST

from search.latency.conversation import Conversation, probe
from search.latency.devices.cpu import Cpu
from search.latency.measure import measure_on
from search.latency.protocol import Protocol
from search.latency.reports import Measuring, Wait, reporting

RUN_S = 0.02
# The first network is the reference network.
SLEEPING = f"""\
import time
from search.latency.probes.probe import Loaded, host_timer, serve
serve(lambda models, settings: Loaded([host_timer(lambda: time.sleep({RUN_S})) for model in models], "1"))
"""


@dataclass(frozen=True)
class Slow(Cpu):
    """A device that sleeps in every run."""

    name: str = "slow"
    lease: str = "slow"

    @contextlib.contextmanager
    def probe(self, runtime: str, protocol: Protocol) -> Iterator[Conversation]:
        """Start a probe that sleeps."""
        with probe(self.name, [sys.executable, "-c", SLEEPING]) as talk:
            yield talk

    @contextlib.contextmanager
    def models(self, talk: object, networks: Sequence[object], *settings: object) -> Iterator[Sequence[object]]:
        """Convert nothing."""
        yield [0 for _ in networks]


def test_a_reading_may_take_longer_than_the_timeout() -> None:
    protocol = Protocol(warmup_s=0.0, min_s=0.0, max_s=0.0, timeout_s=2.0)
    reports: list[Wait | Measuring | None] = []
    with reporting(reports.append):
        reading = measure_on(Slow(), SMALLEST, SIZE, "onnxruntime", protocol)
    assert 0.9 * RUN_S < reading.latency_ms / 1e3 < 3 * RUN_S
    measurings = [report for report in reports if isinstance(report, Measuring)]
    both = [report for report in measurings if report.passed_s == 0.0]
    assert len(both) == 2  # the idle baseline and the reading
    assert both[1].expected_s > 6 * 20 * 2 * RUN_S > protocol.timeout_s
    assert measurings[-1].passed_s > protocol.timeout_s
