"""A study that minimizes the balanced error: its errors are named, and their intervals come from the classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from search_tests.tiny import NETWORK
from studies_tests.sample import sample_loaded

from search.data import Split
from search.training.metrics import ErrorCounts, error_interval
from studies.cli.tables import front_table, named_table
from studies.export.card import ExportResult, ModelInfo, card, seeds_text
from studies.export.folder import ExportedModel
from studies.export.score import Score, score_model
from studies.figures.dashboard import rung_curves
from studies.figures.front import figure
from studies.fronts.as_json import front_json
from studies.fronts.front import front_of
from studies.fronts.picking import PickRequest, noise_of, pick
from studies.fronts.picking_text import pick_text
from studies.report.page.data import page_data
from studies.report.results import results_page
from studies.study import LoadedStudy, progress_of
from threshnet.export.folder import Exported

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


# Exports


class Answers(torch.nn.Module):
    """Answers with the class that is stored in the first pixel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot((255 * images[:, 0, 0, 0]).round().long(), 2).float()


def scored(metric: str) -> Score:
    """Score 8 images of class 0, of which one is wrong, and 2 images of class 1, of which one is wrong."""
    labels = torch.tensor([0] * 8 + [1] * 2)
    answers = torch.tensor([0] * 7 + [1, 1, 0], dtype=torch.uint8)
    return score_model(Answers(), Split(answers[:, None, None, None].expand(-1, 3, 2, 2), labels), metric)


def test_an_export_reports_both_test_errors(tmp_path: Path) -> None:
    score = scored("balanced_error")
    assert (score.percent, score.balanced_percent) == (20.0, 31.25)
    low, high = ErrorCounts((1, 1), (8, 2)).interval("balanced_error")
    assert score.text().endswith(f"; balanced error 31.25 % (95 % interval {low:.2f} to {high:.2f} %)")
    assert score.to_json()["balanced_interval"] == [low, high]
    info = ModelInfo("a network", "Made up", 2, trained_on="8 images", validation_error=30.0, metric="balanced_error")
    result = ExportResult(Exported(tmp_path, {}, 0.0), {"model.safetensors": score})
    summary = "balanced validation error 30.00 %, test error 20.00 %, balanced test error 31.25 %"
    assert summary in ExportedModel(info, result).text()
    assert ExportedModel(info, result).to_json()["metric"] == "balanced_error"
    page = card(replace(NETWORK, classes=2), replace(info, input_size=32), result)
    assert "| balanced validation error | 30.00 % (one training, one seed) |" in page
    assert f"| test error, model.safetensors | {score.text()} |" in page
    assert "; balanced error: mean 31.25 %, standard deviation 0.00, n = 2" in seeds_text({0: score, 1: score})


def test_an_export_of_a_study_of_the_plain_error_reports_only_this_error() -> None:
    score = scored("error")
    assert score.balanced_percent is None
    assert "balanced" not in f"{score.text()} {score.to_json()} {seeds_text({0: score, 1: score})}"
