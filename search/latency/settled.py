"""Readings that are good enough: a disturbed one is extended, then taken again after growing pauses."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from search.latency.protocol import Protocol
from search.latency.reading import Latency

EXTENSION = 2.0  # a reading that is taken again may take this many times as long


def settled_readings(
    take: Callable[[Protocol], Sequence[Latency]],
    protocol: Protocol,
    report: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Sequence[Latency]:
    """Take readings until each network has one that is not disturbed, at most `retakes` of the protocol more times.

    Returns the first such reading of each network, or its last one. The choice never depends on the latencies
    themselves, as the lowest of several readings would be too low. The pauses
    before further readings are 0, 1, 3, 7 times max_s of the protocol, and so on. `take` returns readings of networks
    that were measured interleaved. `report` is called with a few words about what happens.
    """
    latencies = [*take(protocol)]
    longer = replace(protocol, min_s=EXTENSION * protocol.min_s, max_s=EXTENSION * protocol.max_s)
    for number in range(protocol.retakes):
        if not any(latency.disturbed for latency in latencies):
            break
        report(f"measuring again ({number + 1} of {protocol.retakes}), the device was disturbed")
        sleep((2**number - 1) * protocol.max_s)
        latencies = [old if not old.disturbed else new for old, new in zip(latencies, take(longer), strict=True)]
    return latencies
