"""Verdicts on the published claims, based on our own measurements."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.report import digits
from threshnet.costs import Costs
from threshnet.published import CLAIMS, PUBLISHED, Claim

STRIDE_8 = "_stride8"  # suffix of the baselines with a total stride of 8


def pairs_claimed(keys: Sequence[str]) -> Iterator[tuple[Claim, str]]:
    """Yield each claim about latency with each network in `keys` that may be the slower network of the claim."""
    for claim in CLAIMS:
        if claim.measure == "latency":
            yield from ((claim, key) for key in (claim.than, claim.than + STRIDE_8) if key in keys)


def speed_rows(titles: Mapping[str, str], pairs: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield a table row for each claim about latency and each network that may be the slower one, a key of `pairs`."""
    for claim, key in pairs_claimed(list(titles)):
        text = f"{titles[claim.network]} is {claim.percent:g} % faster than {claim.than_title}"
        pair = pairs.get(key)
        if pair is None:
            yield [text, titles[key], "not measured", "no verdict"]
            continue
        ratio, low, high = (100 * (pair[name] - 1) for name in ("ratio", "low", "high"))
        flag = " !" if pair["warnings"] else ""
        advantage = f"{ratio:+.1f} % ({low:+.1f} to {high:+.1f}){flag}"
        yield [text, titles[key], advantage, speed_verdict(claim.percent, low, high)]


def speed_verdict(claimed: float, low: float, high: float) -> str:
    """Compare a claimed advantage, in percent, with the interval of the measured advantage (other / ours - 1)."""
    if high <= 0:
        return "contradicted here: it is slower"
    if low <= 0:
        return "undecided: the interval contains 0"
    if high < claimed:
        return "faster, by less than claimed"
    if low > claimed:
        return "holds, by more than claimed"
    return "holds" if high - low <= claimed else "not contradicted: the interval is wide"


def size_rows(titles: Mapping[str, str], costs: Mapping[str, Costs]) -> Iterator[list[str]]:
    """Yield a table row for each claim about parameters, counted with equal heads and from the published figures."""
    for claim in CLAIMS:
        if claim.measure != "params":
            continue
        here = 100 * (1 - costs[claim.network].params / costs[claim.than].params)
        printed = 100 * (1 - PUBLISHED[claim.network].params_m / PUBLISHED[claim.than].params_m)
        counted = f"{digits(here)} % fewer; {digits(printed)} % as printed"
        text = f"{titles[claim.network]} has {claim.percent:g} % fewer parameters than {claim.than_title}"
        yield [text, titles[claim.than], counted, size_verdict(claim.percent, here, printed)]


def size_verdict(claimed: float, here: float, printed: float) -> str:
    """Check a claimed saving of parameters, in percent, up to the precision with which the claim is printed."""
    if int(here) == int(claimed) or round(here) == round(claimed):
        return "holds"
    if int(printed) == int(claimed) or round(printed) == round(claimed):
        return f"holds for the printed counts, which have different heads; {digits(here)} % with equal heads"
    return "does not hold"
