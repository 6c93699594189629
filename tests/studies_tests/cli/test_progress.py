"""The lines of a launch: one per trial, and a summary at its end."""

from dataclasses import replace
from typing import Any

import pytest
from studies_tests.sample import sample_loaded, with_stopped

from search.records import Record
from search.run import Outcome
from studies.cli.progress import closing
from studies.library import Study
from studies.screen import line
from studies.study import progress_of


def shown(record: Record, params: int = 310_000) -> str:
    """Format the line of a trial as number 12, with a latency of 0.512 ms."""
    network = next(iter(record.latency))
    ratio = 0.512 / record.latency[network].latency_ms
    reading = record.latency[network]
    latency = replace(reading, reference_ms=ratio * reading.reference_ms)
    valued: dict[str, Any] = {"latency_ms": 0.512} if record.trained else {}
    return line(replace(record, number=12, latency={network: latency}, costs={"params": params}, **valued))


def test_the_line_of_a_stopped_trial_has_its_last_error() -> None:
    stopped = replace(with_stopped(sample_loaded(1)).records[-2], rungs={1: 60.0, 2: 41.3})
    assert shown(stopped) == "trial  12   41.30 % after 2 epochs    0.512 ms    0.31 M params  stopped"
    assert "60.00 % after 1 epoch  " in shown(replace(stopped, rungs={1: 60.0}))
    assert shown(replace(stopped, named="threshnet28")).endswith("params  threshnet28  stopped")


def test_the_line_of_a_trained_network_has_its_error_and_marks_it_if_infeasible() -> None:
    first = replace(sample_loaded(0).records[0], error=30.0, state="finished")
    assert shown(first) == "trial  12   30.00 %    0.512 ms    0.31 M params  threshnet28"
    assert shown(replace(first, state="infeasible")).endswith("threshnet28  infeasible")


@pytest.mark.parametrize(("state", "text"), [("failed", "failed: alas"), ("not trained", "not trained: alas")])
def test_the_line_of_an_untrained_network_has_the_reason(state: str, text: str) -> None:
    record = replace(sample_loaded(0).records[0], state=state, reason="alas")  # type: ignore[arg-type]
    assert line(record) == f"trial   0  {text}"


def test_the_line_of_a_duplicate_names_the_other_trial() -> None:
    record = replace(sample_loaded(0).records[1], state="duplicate", duplicate_of=0)
    assert line(record) == "trial   1  duplicate of trial 0"


def test_the_summary_counts_networks_by_state(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = with_stopped(sample_loaded(10), stopped=4)  # one of which was resumed
    failed = replace(loaded.records[0], number=99, state="failed")
    loaded = replace(loaded, records=[*loaded.records, failed], spec=replace(loaded.spec, trials=40))
    space, done, *sentences, following = closing(Study(loaded), Outcome(17, "timeout")).splitlines()
    assert space.startswith("space ")
    so_far = "13 networks trained, 3 stopped early, 1 failed, of 40"
    assert done == f"sample: {so_far}: time limit reached; rerun the command to resume."
    assert tuple(sentences) == progress_of(loaded).sentences
    assert len(sentences) == 3
    assert following == "Next: threshnet pareto sample --html front.html"
    analysis = Study(loaded, "postgresql://me:secret@host/db?sslmode=require")
    elsewhere = closing(analysis, Outcome(17, "timeout"))
    assert elsewhere.endswith("pareto sample --storage 'postgresql://me:***@host/db' --html front.html")
    monkeypatch.setenv("OPTUNA_STORAGE", analysis.storage)
    assert closing(analysis, Outcome(17, "timeout")).endswith("Next: threshnet pareto sample --html front.html")


def test_the_summary_without_trained_networks_has_no_progress_and_no_next_command() -> None:
    loaded = sample_loaded(0, named=())
    text = closing(Study(loaded), Outcome(0, "interrupted"))
    assert text.splitlines()[1:] == ["sample: 0 networks trained, of 1: stopped; rerun the command to resume."]
