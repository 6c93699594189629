"""The comparison of both metrics: its images, its errors, its page and its exit status."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import balanced_error
from benchmarks.balanced_error import SEEDS, BestNetwork, gains, main, unbalanced
from search.training.metrics import METRICS
from studies.spec import StudySpec


def made_up(spec: StudySpec, _folder: Path) -> BestNetwork:
    """A network with one error in each class, or with nothing but errors in a small class."""
    wrong = (1, 1) if spec.metric == "balanced_error" else (0, 10)
    return BestNetwork(spec.metric, spec.seed, 1.0, wrong, (10, 10))


def test_small_classes_have_a_tenth_of_the_images_except_for_the_test() -> None:
    data: Any = unbalanced()
    for part, even, odd in ((data.train, 89, 10), (data.validation, 44, 5)):
        counts = Counter(part[1].tolist())
        for digit in range(10):
            assert abs(counts[digit] - (odd if digit % 2 else even)) <= 2
    test = Counter(data.test[1].tolist())
    assert max(test.values()) - min(test.values()) <= 3
    assert len(data.train[0]) == len(data.train[1])


def test_the_gain_is_the_difference_of_the_balanced_errors_of_a_seed() -> None:
    rows = [BestNetwork("error", 0, 1.0, (0, 5), (10, 10)), BestNetwork("balanced_error", 0, 1.0, (2, 1), (10, 10))]
    assert gains(rows) == pytest.approx([10.0])
    assert [rows[0].group(small) for small in (False, True)] == [0.0, 50.0]


def test_each_seed_has_a_study_of_both_metrics(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    specs: list[StudySpec] = []

    def record(spec: StudySpec, folder: Path) -> BestNetwork:
        specs.append(spec)
        return made_up(spec, folder)

    monkeypatch.setattr(balanced_error, "best_network", record)
    assert main(["--check", "--output", str(tmp_path / "page.md")]) == 0
    assert [(spec.seed, spec.metric) for spec in specs] == [(seed, metric) for seed in SEEDS for metric in METRICS]
    assert "| `balanced_error` | 10.0 ± 0.0 | 10.0 ± 0.0 | 10.0 ± 0.0 |" in capsys.readouterr().out
    equal = made_up(StudySpec("equal", metric="balanced_error"), tmp_path)
    monkeypatch.setattr(balanced_error, "best_network", lambda spec, _: replace(equal, metric=spec.metric))
    assert main(["--check", "--quick"]) == 1
    assert main(["--render", str(tmp_path / "page.json")]) == 0
