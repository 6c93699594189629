"""Readings that are good enough: a disturbed one is extended, then taken again after growing pauses."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from search.latency.protocol import Protocol
from search.latency.reading import Latency

EXTENSION = 2.0  # a reading that is taken again may take this many times as long
PAUSES = (0.0, 1.0, 3.0)  # before each further reading, as multiples of the max_s of the protocol


def settled_readings(
    take: Callable[[Protocol], Sequence[Latency]],
    protocol: Protocol,
    report: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Sequence[Latency]:
    """Take readings until none is disturbed, and return them, or the last ones after len(PAUSES) further tries.

    The choice never depends on the latencies themselves, as the lowest of several readings would be too low. `take`
    returns readings of networks that were measured interleaved. `report` is called with a few words about what happens.
    """
    latencies = take(protocol)
    longer = replace(protocol, min_s=EXTENSION * protocol.min_s, max_s=EXTENSION * protocol.max_s)
    for number, pause in enumerate(PAUSES, start=2):
        if not any(latency.disturbed for latency in latencies):
            break
        report(f"reading {number} of {len(PAUSES) + 1}, as the device was disturbed")
        sleep(pause * protocol.max_s)
        latencies = take(longer)
    return latencies
