"""The published claims against what was measured here: a verdict on each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.comparison.systems import System
from benchmarks.report import digits
from threshnet.costs import Costs
from threshnet.published import CLAIMS, PUBLISHED, Claim

STRIDE_8 = "_stride8"  # ends the names of the comparison networks that reduce an image 8 times only


def pairs_claimed(keys: Sequence[str]) -> Iterator[tuple[Claim, str]]:
    """The claims on latency, each with every network here that may be meant by the slower one."""
    for claim in CLAIMS:
        if claim.measure == "latency":
            yield from ((claim, key) for key in (claim.than, claim.than + STRIDE_8) if key in keys)


def speed_rows(by_key: Mapping[str, System], pairs: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """A table row for each claim on latency and network that may be meant; `pairs` by that network's key."""
    for claim, key in pairs_claimed(list(by_key)):
        ours, other = by_key[claim.network].title, by_key[key].title
        said = f"{ours} is {claim.percent:g} % faster than {claim.than_title}"
        pair = pairs.get(key)
        if pair is None:
            yield [said, other, "not measured", "no verdict"]
            continue
        ratio, low, high = (100 * (pair[name] - 1) for name in ("ratio", "low", "high"))
        flag = " !" if pair["warnings"] else ""
        told = f"{ratio:+.1f} % ({low:+.1f} to {high:+.1f}){flag}"
        yield [said, other, told, speed_verdict(claim.percent, low, high)]


def speed_verdict(claimed: float, low: float, high: float) -> str:
    """What an interval of an advantage (other / ours - 1), percent, says of a claimed one, percent."""
    if high <= 0:
        return "does not hold here: it is slower"
    if low <= 0:
        return "undecided: the interval holds 0"
    if high < claimed:
        return "faster, by less than claimed"
    if low > claimed:
        return "holds, and by more"
    return "holds" if high - low <= claimed else "not contradicted: the interval is wide"


def size_rows(by_key: Mapping[str, System], costs: Mapping[str, Costs]) -> Iterator[list[str]]:
    """A table row for each claim on parameters, with the heads of this comparison and with the published figures."""
    for claim in CLAIMS:
        if claim.measure != "params":
            continue
        ours, other = by_key[claim.network].title, by_key[claim.than].title
        here = 100 * (1 - costs[claim.network].params / costs[claim.than].params)
        printed = 100 * (1 - PUBLISHED[claim.network].params_m / PUBLISHED[claim.than].params_m)
        counted = f"{digits(here)} % fewer; {digits(printed)} % as printed"
        said = f"{ours} has {claim.percent:g} % fewer parameters than {claim.than_title}"
        yield [said, other, counted, size_verdict(claim.percent, here, printed)]


def size_verdict(claimed: float, here: float, printed: float) -> str:
    """What the shares of parameters saved, percent, say of a claimed one, to the point that it is printed to."""
    if int(here) == int(claimed) or round(here) == round(claimed):
        return "holds"
    if int(printed) == int(claimed) or round(printed) == round(claimed):
        return f"holds of the printed counts, whose heads differ; {digits(here)} % with equal heads"
    return "does not hold"
