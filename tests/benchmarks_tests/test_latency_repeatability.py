"""The comparison of passes: hand-made latencies that are right, off, flagged or swapped."""

from dataclasses import replace

import pytest

from benchmarks.latency_repeatability import DISTURBANCES, PASSES, Row, agreements, compared, markdown, reached

IDLE_MS = {"A": 0.2, "A'": 0.206, "B": 0.3, "C": 0.4, "C'": 0.41, "D": 0.5, "E": 0.7, "E'": 0.72, "F": 1.0, "G": 1.2}


def row(name: str, milliseconds: float) -> Row:
    """A network whose readings all agree; the naive ones are off by a tenth of a percent for every letter."""
    off = 1 + ord(name[0]) / 1000
    latencies = (milliseconds,) * len(PASSES)
    return Row(name, 10_000_000, latencies, (milliseconds, *(milliseconds * off for _ in PASSES[1:])), (False,) * 4)


def rows() -> dict[str, Row]:
    """Twelve networks, four pairs of which are close."""
    times = IDLE_MS | {"G'": 1.23, "H": 1.7}
    return {name: row(name, milliseconds) for name, milliseconds in times.items()}


def changed(found: dict[str, Row], name: str, at: int, share: float, *, flagged: bool = False) -> dict[str, Row]:
    """The same networks, one of which is off by a share in pass `at`."""
    one = found[name]
    ours, flags = list(one.ours), list(one.flagged)
    ours[at] *= 1 + share
    flags[at] = flagged
    return found | {name: replace(one, ours=tuple(ours), flagged=tuple(flags))}


def test_passes_that_agree_hold() -> None:
    found = list(rows().values())
    assert [one.median_difference for one in agreements(found)["ours"]] == [0, 0, 0]
    assert reached(found)
    assert "| with 6 computing processes | 12 of 12 | 0.0% | 0.0% | none |" in markdown(found, "here")


@pytest.mark.parametrize("at", [2, 3])
def test_one_reading_without_a_flag_must_not_be_far_off(at: int) -> None:
    limits = DISTURBANCES[at - 2]
    wrong = changed(rows(), "H", at, limits.largest + 0.01)
    assert compared(list(wrong.values()), at).largest_difference == pytest.approx(limits.largest + 0.01)
    assert not reached(list(wrong.values()))
    flagged = list(changed(rows(), "H", at, limits.largest + 0.01, flagged=True).values())
    assert compared(flagged, at).unflagged == 11
    assert reached(flagged)
    assert " ! |" in markdown(flagged, "here")


def test_networks_that_differ_keep_their_order() -> None:
    found = rows()
    for name in ("E", "E'"):
        found = changed(found, name, 2, 0.09)
    found = changed(found, "F", 2, -0.095)
    assert compared(list(found.values()), 2).swapped == ()
    found = found | {"F": replace(found["F"], ours=(0.8, 0.8, 0.75, 0.8))}
    assert compared(list(found.values()), 2).swapped == ("E and F", "E' and F")
    assert not reached(list(found.values()))


def test_half_of_the_readings_have_no_flag() -> None:
    found = rows()
    for name in list(found)[:7]:
        found = changed(found, name, 3, 0.0, flagged=True)
    assert not reached(list(found.values()))
    assert compared([replace(one, flagged=(True,) * 4) for one in found.values()], 3).unflagged == 0


def test_idle_readings_are_seldom_flagged() -> None:
    once = changed(rows(), "A", 0, 0.0, flagged=True)
    assert reached(list(once.values()))
    assert not reached(list(changed(once, "B", 1, 0.0, flagged=True).values()))
