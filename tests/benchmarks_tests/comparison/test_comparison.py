"""The comparison of all systems: the ledger, resuming, verdicts, the page and the figure, without measurements."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from search_tests.tiny import NETWORK, dark_and_bright

from benchmarks.comparison import runs as comparison_runs
from benchmarks.comparison.__main__ import FULL, main
from benchmarks.comparison.claims import pairs_claimed, size_verdict, speed_verdict
from benchmarks.comparison.figure import figure
from benchmarks.comparison.page import Row, markdown
from benchmarks.comparison.runs import Images, Ledger, NotTaken, Protocols, trained
from benchmarks.comparison.systems import System, systems
from search.data import DataSettings, SearchData
from search.training.checkpoints import save_training
from search.training.recipes import FAST
from threshnet.costs import count
from threshnet.errors import InputError
from threshnet.network import build
from threshnet.published import PUBLISHED

SUMMARY: dict[str, Any] = {"latency_ms": 1.0, "low_ms": 0.9, "high_ms": 1.2, "warnings": []}
TRAINING: dict[str, Any] = {"test_error_percent": 25.0, "test_images": 400, "losses": [2.0, 1.5], "rate": 1.0}


def rows(**changed: Any) -> list[Row]:  # noqa: ANN401 - fields of a Row
    every = [
        Row(one.key, one.kind, one.title, one.origin, one.costs(224), one.costs(32), SUMMARY, TRAINING)
        for one in systems()
        if one.kind == "spec"
    ]
    return [*every[:-1], replace(every[-1], **changed)]


def test_a_row_survives_a_json_round_trip() -> None:
    for row in rows(costs=None, latency=None):
        assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_every_system_of_the_published_table_is_compared() -> None:
    keys = [system.key for system in systems()]
    assert len(set(keys)) == len(keys)
    assert set(PUBLISHED) <= set(keys)
    assert {"shufflenet_v2", "ghostnet", "efficientnet_b0", "densenet121"} <= set(keys)


def test_a_baseline_is_counted_with_the_head_that_is_trained() -> None:
    system = next(one for one in systems() if one.key == "squeezenet")
    counted = system.costs(32)
    assert (counted.input_size, counted.params) == (32, sum(p.numel() for p in system.make().parameters()))


def test_a_network_from_a_file_is_compared(tmp_path: Path) -> None:
    file = tmp_path / "trial7.json"
    file.write_text(json.dumps(replace(NETWORK, classes=10).to_json()))
    assert systems([file])[-1].key == "trial7"
    with pytest.raises(InputError, match="two networks are named 'trial7'"):
        systems([file, file])
    file.write_text(json.dumps(replace(NETWORK, classes=3).to_json()))
    with pytest.raises(InputError, match="classes = 3"):
        systems([file])


# The ledger


def test_an_outcome_is_computed_once_for_its_conditions(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl", ("measured",))
    calls: list[int] = []

    def work() -> dict[str, Any]:
        calls.append(1)
        return {"value": len(calls)}

    assert [ledger.take("measured", "a", {"batch": 1}, work)["value"] for _ in range(2)] == [1, 1]
    assert ledger.take("measured", "a", {"batch": 2}, work) == {"value": 2}
    assert ledger.take("measured", "b", {"batch": 1}, work) == {"value": 3}
    assert Ledger(ledger.file, ()).take("measured", "a", {"batch": 2}, work) == {"value": 2}
    with pytest.raises(NotTaken):
        ledger.take("trained", "a", {"batch": 1}, work)


class Interrupted(Exception):  # noqa: N818 - no error
    """Replaces KeyboardInterrupt."""


def test_an_interrupted_training_resumes_to_the_same_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = dark_and_bright(40)
    images = images_of(SearchData("made up", ("dark", "bright"), split, split, flip=False))
    system = _system()
    protocols = Protocols(replace(FAST, epochs=3, batch=8), train=40, validation=40)
    whole = trained(Ledger(tmp_path / "whole.jsonl", ("trained",)), system, protocols, images, seed=0)

    saved: list[int] = []

    def save_then_stop(*arguments: object) -> None:
        save_training(*arguments)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == 2:
            raise Interrupted

    ledger = Ledger(tmp_path / "stopped.jsonl", ("trained",))
    monkeypatch.setattr(comparison_runs, "save_training", save_then_stop)
    with pytest.raises(Interrupted):
        trained(ledger, system, protocols, images, seed=0)
    assert (tmp_path / "tiny-0-1.pt").exists()
    again = trained(ledger, system, protocols, images, seed=0)
    assert (again["losses"], again["test_error_percent"]) == (whole["losses"], whole["test_error_percent"])
    assert not (tmp_path / "tiny-0-1.pt").exists()


def images_of(search: SearchData) -> Images:
    """Images in memory, with the validation split as the test split."""
    images = Images(DataSettings("digits", None, 1, 1))
    vars(images).update(search=search, test=search.validation)
    return images


def _system() -> System:
    spec = replace(NETWORK, classes=2)
    return System("tiny", "file", "Tiny", "made up", spec.fingerprint(), partial(build, spec), partial(count, spec))


def test_a_training_at_chance_level_is_repeated_with_a_lower_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def train(*arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - as _train's
        rates.append(arguments[1].learning_rate)
        if len(rates) == 1:
            return {"failed": "the loss was not finite"}
        return TRAINING | {"test_error_percent": 40.0, "losses": [2.4, 2.3026 if len(rates) == 2 else 1.9]}

    monkeypatch.setattr(comparison_runs, "_train", train)
    split = dark_and_bright(40)
    images = images_of(SearchData("made up", ("dark", "bright"), split, split, flip=False))
    outcome = trained(Ledger(tmp_path / "l.jsonl", ("trained",)), _system(), FULL, images, seed=0)
    assert rates == [FAST.learning_rate, FAST.learning_rate / 4, FAST.learning_rate / 16]
    assert (outcome["rate"], outcome["test_error_percent"]) == (1 / 16, 40.0)
    text = page(rows(training=outcome), {})
    assert "40.00 (35.3 to 44.9) †" in text
    assert "HarDNet85 (0.0625)" in text


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-20.0, -1.0, "contradicted here: it is slower"),
        (-1.0, 12.0, "undecided: the interval contains 0"),
        (2.0, 8.0, "faster, by less than claimed"),
        (8.0, 12.0, "holds"),
        (1.0, 60.0, "not contradicted: the interval is wide"),
        (12.0, 15.0, "holds, by more than claimed"),
    ],
)
def test_verdicts_on_speed(low: float, high: float, verdict: str) -> None:
    assert speed_verdict(10.0, low, high) == verdict


def test_verdicts_on_size() -> None:
    assert size_verdict(55.0, 55.8, 55.8) == "holds"
    assert size_verdict(55.0, 54.2, 55.9).startswith("holds for the printed counts")
    assert size_verdict(55.0, 40.0, 41.0) == "does not hold"


def test_a_claim_on_speed_is_tested_with_both_strides() -> None:
    keys = [system.key for system in systems()]
    claimed = [key for _, key in pairs_claimed(keys)]
    assert claimed[0] == "hardnet68"
    assert {"ghostnet", "ghostnet_stride8", "efficientnet_b0_stride8"} <= set(claimed)


# The page and the figure


def test_the_recorded_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """If this fails: `python -m benchmarks.comparison --render .../comparison.json --output .../README.md`."""
    folder = Path(comparison_runs.__file__).parents[1] / "results" / "comparison"
    assert main(["--render", str(folder / "comparison.json")]) == 0
    assert capsys.readouterr().out == (folder / "README.md").read_text(encoding="utf-8")


def page(of: list[Row], pairs: Mapping[str, Mapping[str, Any]]) -> str:
    return markdown(of, pairs, FULL, "abacus", "beads")


def test_missing_results_are_marked() -> None:
    text = page(rows(latency=None, training=None), {})
    assert "| not measured | not trained |" in text
    assert "**Beads.**" in text
    assert "| not measured | no verdict |" in text


def test_each_number_has_its_interval() -> None:
    pair = {"ratio": 1.1, "low": 1.08, "high": 1.12, "warnings": ["not steady"]}
    text = page(rows(latency=SUMMARY | {"warnings": ["busy device"]}), {"hardnet68": pair})
    assert "| 1.00 (0.900 to 1.20) | 25.00 (21.0 to 29.5) |" in text  # Wilson's for 100 of 400
    assert "| +10.0 % (+8.0 to +12.0) ! | holds, by more than claimed |" in text
    assert "HarDNet68, paired (not steady)" in text
    assert "1.20) ! |" in text
    assert "HarDNet85 (busy device)" in text
    assert len(text.splitlines()) <= 60


def test_the_figure_labels_every_complete_system() -> None:
    drawn = figure(rows(training=None), "abacus")
    assert {note.text for note in drawn.layout.annotations} == {row.title for row in rows()[:-1]}
