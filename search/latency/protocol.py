"""The measurement protocol: rounds until the latency is precise enough or the time limit is reached."""

from dataclasses import dataclass
from typing import Annotated, Literal

from threshnet import strict
from threshnet.errors import require
from threshnet.strict import Range

Seconds = Annotated[float, Range(0, 3600, unit="seconds")]  # that a part of a measurement may take

Precision = Literal["fp32", "fp16", "bf16"]


class MeasurementError(RuntimeError):
    """A measurement failed: the probe died, timed out or sent a malformed reply; the message is one line."""


class ConnectionLost(MeasurementError):  # noqa: N818 - what happened, not what is wrong
    """The connection to the measuring machine failed or was lost; a retry may succeed."""


@dataclass(frozen=True)
class Protocol:
    """A measurement protocol: threads, batch, precision, rounds and the stopping rule.

    A cycle is one round of the network and one of the reference network. The least-disturbed third of the cycles, at
    least six, make the reading. The defaults take 1 to 2 s for a network of 1 ms. Raises InputError for a value out of
    range.
    """

    # Threads of the runtime's pool, at least 1; without effect on a GPU.
    threads: Annotated[int, Range(1, 1024)] = 1
    # Images in one run, at least 1.
    batch: Annotated[int, Range(1, 65_536)] = 1
    # Precision of weights and activations; fp16 and bf16 only on a GPU.
    precision: Precision = "fp32"
    # Memory layout NHWC; only with torch.
    channels_last: bool = False
    # Consecutive runs of one network, at least 20 so that caches hold its data.
    round_runs: Annotated[int, Range(20, 10_000)] = 20
    # Runs at the start of a round that do not count, at least 1 and fewer than round_runs.
    discard: Annotated[int, Range(1, 9_999)] = 4
    # Seconds of warm-up for each network; up to 4 times that if it is unsteady.
    warmup_s: Seconds = 0.3
    # Seconds of rounds, at least.
    min_s: Seconds = 1.0
    # Seconds of rounds after which to stop anyway, once there are six cycles.
    max_s: Seconds = 2.0
    # Target relative half-width of the 95 % interval, at which the rounds stop.
    tolerance: Annotated[float, Range(0, 1)] = 0.02
    # Seconds after which a probe that does not answer is given up.
    timeout_s: Seconds = 300.0

    def __post_init__(self) -> None:
        strict.check(self, "latency")
        discard, min_s = self.discard, self.min_s
        require(discard < self.round_runs, "latency.discard", discard, f"below latency.round_runs = {self.round_runs}")
        require(min_s <= self.max_s, "latency.min_s", min_s, f"at most latency.max_s = {self.max_s}")

    def to_json(self) -> dict[str, object]:
        """Return the protocol as a dict that json.dumps takes."""
        return strict.plain(self)


DEFAULT_PROTOCOL = Protocol()
