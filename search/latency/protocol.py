"""The measurement protocol: run rounds until the latency is precise enough or the time limit is reached."""

from dataclasses import dataclass
from typing import Annotated, Literal

from search.latency.probes.probe import MIN_CYCLES
from threshnet import strict
from threshnet.errors import require
from threshnet.strict import Range

Seconds = Annotated[float, Range(0, 3600, unit="seconds")]  # duration of a part of a measurement

Precision = Literal["fp32", "fp16", "bf16"]


class MeasurementError(RuntimeError):
    """A measurement failed because the probe died, timed out or sent a malformed reply; the message is one line."""


class ConnectionLost(MeasurementError):  # noqa: N818 - what happened, not what is wrong
    """The connection to the measuring machine failed or was lost; a retry may succeed."""


@dataclass(frozen=True)
class Plan:
    """The part of a protocol that a probe needs to time networks in rounds; the fields mean the same as in Protocol."""

    round_runs: int
    discard: int
    warmup_s: float
    min_s: float
    max_s: float
    tolerance: float
    # Minimum number of cycles.
    min_cycles: int = MIN_CYCLES


@dataclass(frozen=True)
class Protocol:
    """A measurement protocol: threads, batch size, precision, rounds and stopping rule.

    A cycle consists of one round of the network and one round of the reference network. The reading uses the
    least-disturbed third of the cycles, but at least six cycles. With the default values, a measurement takes 1 to
    2.5 s for a network with a latency of 1 ms. Raises InputError if a value is out of range.
    """

    # Number of threads of the runtime, at least 1. Ignored on a GPU.
    threads: Annotated[int, Range(1, 1024)] = 1
    # Batch size: the number of images in one run, at least 1.
    batch: Annotated[int, Range(1, 65_536)] = 1
    # Precision of weights and activations. fp16 and bf16 are only available on a GPU.
    precision: Precision = "fp32"
    # Whether to use the NHWC memory layout. Only available with torch.
    channels_last: bool = False
    # Number of consecutive runs of one network in a round, at least 20 so that the caches contain the data of the
    # network.
    round_runs: Annotated[int, Range(20, 10_000)] = 20
    # Number of runs at the start of a round that are discarded, at least 1 and less than round_runs.
    discard: Annotated[int, Range(1, 9_999)] = 4
    # Seconds of warm-up for each network. The warm-up takes up to 4 times as long if the latency is unsteady.
    warmup_s: Seconds = 0.2
    # Minimum total duration of the rounds in seconds.
    min_s: Seconds = 0.5
    # Maximum total duration of the rounds in seconds. At least six cycles are always run.
    max_s: Seconds = 2.0
    # Target relative half-width of the 95 % interval. The rounds stop once it is reached.
    tolerance: Annotated[float, Range(0, 1)] = 0.02
    # Maximum number of further readings in a study if the device was disturbed, with growing pauses between them.
    retakes: Annotated[int, Range(0, 10)] = 3
    # Maximum number of seconds without a message of the probe. It reports its progress, so a reading may take longer.
    timeout_s: Seconds = 300.0

    def __post_init__(self) -> None:
        strict.check(self, "latency")
        discard, min_s = self.discard, self.min_s
        require(discard < self.round_runs, "latency.discard", discard, f"below latency.round_runs = {self.round_runs}")
        require(min_s <= self.max_s, "latency.min_s", min_s, f"at most latency.max_s = {self.max_s}")

    @property
    def plan(self) -> Plan:
        """The part of the protocol that a probe needs to time networks."""
        return Plan(self.round_runs, self.discard, self.warmup_s, self.min_s, self.max_s, self.tolerance)

    def to_json(self) -> dict[str, object]:
        """Return the protocol as a JSON-serializable dict."""
        return strict.plain(self)


DEFAULT_PROTOCOL = Protocol()
