"""How a latency is taken: in rounds, until it is known well enough or time is up."""

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

from threshnet import strict
from threshnet.errors import InputError

LONGEST_S = 3600  # seconds that any part of a measurement may take

Precision = Literal["fp32", "fp16", "bf16"]


class MeasurementError(RuntimeError):
    """A latency could not be taken: the probe died, ran out of time or answered nonsense; the message is one line."""


class ConnectionLost(MeasurementError):  # noqa: N818 - what happened, not what is wrong
    """The machine that measures could not be reached, or not any more; another try may succeed."""


@dataclass(frozen=True)
class Protocol:
    """How a latency is taken: threads, batch, precision, rounds and when to stop.

    A cycle is a round of the network and one of the reference network; the quietest third of the cycles, six at least,
    make the reading. The defaults take 1 to 2 s for a network of 1 ms. Raises InputError for a value out of range.
    """

    threads: int = 1  # threads of the runtime's pool, at least 1; without effect on a GPU
    batch: int = 1  # images in one run, at least 1
    precision: Precision = "fp32"  # precision of weights and activations; fp16 and bf16 only on a GPU
    channels_last: bool = False  # memory layout NHWC; only with torch
    round_runs: int = 20  # consecutive runs of one network, at least 20 so that caches hold its data
    discard: int = 4  # runs at the start of a round that do not count, at least 1 and fewer than round_runs
    warmup_s: float = 0.3  # seconds of warm-up for each network; up to 4 times that if it is unsteady
    min_s: float = 1.0  # seconds of rounds, at least
    max_s: float = 2.0  # seconds of rounds after which to stop anyway, once there are six cycles
    tolerance: float = 0.02  # target relative half-width of the 95 % interval, at which the rounds stop
    timeout_s: float = 300.0  # seconds after which a probe that does not answer is given up

    def __post_init__(self) -> None:
        whole = {"threads": (1, 1024), "batch": (1, 65_536), "round_runs": (20, 10_000), "discard": (1, 9_999)}
        for name, (low, high) in whole.items():
            if getattr(self, name) < low:
                raise InputError(f"protocol: {name} = {getattr(self, name)!r}, must be at least {low}")
            if getattr(self, name) > high:
                raise InputError(f"protocol: {name} = {getattr(self, name)!r}, must be at most {high}")
        if self.discard >= self.round_runs:
            raise InputError(f"protocol: discard = {self.discard}, must be below round_runs = {self.round_runs}")
        if self.precision not in get_args(Precision):
            raise InputError(
                f"protocol: precision = {self.precision!r}, must be one of {', '.join(get_args(Precision))}"
            )
        for name in ("warmup_s", "min_s", "max_s", "timeout_s", "tolerance"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                unit = "a share" if name == "tolerance" else "a number of seconds"
                raise InputError(f"protocol: {name} = {getattr(self, name)!r}, must be {unit}, 0 or more")
            if getattr(self, name) > (most := 1 if name == "tolerance" else LONGEST_S):
                raise InputError(f"protocol: {name} = {getattr(self, name)!r}, must be at most {most}")
        if self.min_s > self.max_s:
            raise InputError(f"protocol: min_s = {self.min_s!r}, must be at most max_s = {self.max_s!r}")

    def to_json(self) -> dict[str, object]:
        """Return the protocol as a dict that json.dumps takes."""
        return strict.plain(self)

    @classmethod
    def from_json(cls, document: object, source: str = "protocol") -> Self:
        """Read a protocol back; raises InputError, naming source, for unknown or missing keys and wrong types."""
        return strict.read(document, cls, source)


DEFAULT_PROTOCOL = Protocol()
