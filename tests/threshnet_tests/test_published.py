"""The published table compared with our counts: agreement to the digit, or a stated discrepancy."""

from dataclasses import replace

import pytest

from threshnet import NAMED
from threshnet.baselines import BASELINES
from threshnet.costs import Costs, count
from threshnet.published import (
    CLAIMS,
    INPUT_SIZE,
    PUBLISHED,
    Discrepancy,
    PublishedRow,
    discrepancies,
    in_published_units,
)


def ours(row: PublishedRow, classes: int) -> Costs:
    return count(replace(NAMED[row.network], classes=classes), INPUT_SIZE)


def discrepancies_of(row: PublishedRow, classes: int) -> tuple[Discrepancy, ...]:
    return discrepancies(row, ours(row, classes), ours(row, row.head_classes))


OF_SPECS = [row for row in PUBLISHED.values() if row.network in NAMED]


def test_every_row_and_claim_names_an_existing_network() -> None:
    assert all(row.network == name for name, row in PUBLISHED.items())
    assert set(NAMED) < set(PUBLISHED) <= {*NAMED, *BASELINES}
    assert {name for claim in CLAIMS for name in (claim.network, claim.than)} <= {*NAMED, *BASELINES}


@pytest.mark.parametrize("row", OF_SPECS, ids=lambda row: row.network)
def test_rows_agree_to_the_digit_except_for_one_figure(row: PublishedRow) -> None:
    differing = [(one.column, one.published, one.status) for one in discrepancies_of(row, row.head_classes)]
    assert differing == ([("params", 14.31, "unexplained")] if row.network == "threshnet79" else [])


@pytest.mark.parametrize("name", ["hardnet68", "hardnet85"])
def test_a_different_head_explains_the_discrepancy(name: str) -> None:
    found = discrepancies_of(PUBLISHED[name], 10)
    assert found[0].column == "params"
    assert found[0].counted == ours(PUBLISHED[name], 10).params / 1e6
    assert {(one.status, one.why) for one in found} == {
        ("explained", "the published row counts a head of 1000 classes")
    }


def test_a_discrepancy_that_no_head_explains_stays_unexplained() -> None:
    (one,) = discrepancies_of(PUBLISHED["threshnet79"], 1000)
    assert (one.column, one.status) == ("params", "unexplained")
    assert f"{one.counted:.2f} M" in PUBLISHED["threshnet79"].remark


def test_a_row_of_another_network_names_it() -> None:
    row = PUBLISHED["squeezenet"]
    other = ours(PUBLISHED["threshnet95"], 10)
    found = discrepancies(row, other, other)
    assert [one.column for one in found] == list(in_published_units(other))
    assert {(one.status, one.why) for one in found} == {("explained", row.counts)}


def test_claims_agree_with_the_published_table() -> None:
    """Times are printed to 0.01 ms, so a claim can be checked to about one percentage point."""
    for claim in CLAIMS:
        if claim.than not in PUBLISHED:
            continue
        network, than = PUBLISHED[claim.network], PUBLISHED[claim.than]
        if claim.measure == "latency":
            assert 100 * (than.gpu_ms / network.gpu_ms - 1) == pytest.approx(claim.percent, abs=1)
        else:
            assert 100 * (1 - network.params_m / than.params_m) == pytest.approx(claim.percent, abs=1)
