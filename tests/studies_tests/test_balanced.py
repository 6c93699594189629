"""A study that minimizes the balanced error: its errors are named, and their intervals come from the classes."""

from dataclasses import replace

import pytest
from rich.console import Console
from studies_tests.sample import sample_loaded

from search.intervals import error_interval
from search.training.metrics import ErrorCounts
from studies.cli.tables import front_table, named_table
from studies.figures.dashboard import rung_curves
from studies.figures.front import figure
from studies.fronts.as_json import front_json
from studies.fronts.front import front_of
from studies.fronts.picking import PickRequest, noise_of, pick
from studies.fronts.picking_text import pick_text
from studies.report.page.data import page_data
from studies.report.results import results_page
from studies.study import LoadedStudy, progress_of

COUNTS = ErrorCounts((10, 12, 4), (90, 90, 20))
VALIDATION = sum(COUNTS.images)


@pytest.fixture(scope="module")
def loaded() -> LoadedStudy:
    """The sample study with the balanced error as its metric."""
    plain = sample_loaded()
    records = [replace(record, class_errors=COUNTS, error=COUNTS.percent("balanced_error")) for record in plain.records]
    return replace(plain, spec=replace(plain.spec, metric="balanced_error"), records=records)


def printed(table: object) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_every_output_names_the_balanced_error(loaded: LoadedStudy) -> None:
    front = front_of(loaded)
    assert front.error_name == "balanced validation error"
    for table in (front_table(front), named_table(front)):
        assert "balanced error %" in printed(table)
    assert figure(front).layout.yaxis.title.text == "balanced validation error (%), lower is better"
    assert rung_curves(loaded.records, (), front.error_name).layout.yaxis.title.text == "balanced validation error (%)"
    assert front_json(front)["objectives"]["error_percent"] == "balanced validation error of one training"
    page = results_page(loaded, [front], progress_of(loaded))
    assert "- Balanced validation error: on a fifth of the images" in page
    assert "| on the front | balanced error % |" in page
    text = "\n".join(pick_text(pick(front, PickRequest(), VALIDATION)))
    assert "% balanced validation error" in text
    assert "errors binomial over 200 validation images, by class" in text


def test_intervals_have_the_variance_of_the_classes(loaded: LoadedStudy) -> None:
    effective = COUNTS.effective_images("balanced_error")
    assert effective < VALIDATION
    data = page_data(loaded, [front_of(loaded)], progress_of(loaded))
    assert (data["balanced"], data["error_name"]) == (True, "balanced validation error")
    low, high = error_interval(COUNTS.percent("balanced_error"), effective)
    assert data["trials"]["error"][0][1:] == pytest.approx([low, high], rel=1e-5)
    plain = [replace(record, class_errors=None) for record in loaded.records]
    assert (noise_of(loaded.records, VALIDATION, 0.0).error > noise_of(plain, VALIDATION, 0.0).error).all()


def test_a_study_of_the_plain_error_is_worded_as_before() -> None:
    front = front_of(sample_loaded())
    assert front.error_name == "validation error"
    assert figure(front).layout.yaxis.title.text == "validation error (%), lower is better"
