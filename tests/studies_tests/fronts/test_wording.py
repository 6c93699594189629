"""Sentences about latencies."""

from dataclasses import replace

from search_tests.tiny import steady_latency
from studies_tests.sample import sample_loaded

from search.latency.baseline import Baseline
from studies.fronts.wording import baselines_text, untrained_text


def test_the_idle_baselines_are_listed_once_with_the_number_of_rescaled_latencies() -> None:
    latest = replace(steady_latency(2.0), baseline=Baseline(1.0, 0.9, 1.1, "pi", "2026-11-28 01:36"))
    text = "idle baseline 1.000 ms, 2026-11-28 01:36 UTC"
    assert baselines_text([latest, latest]) == text
    assert (
        baselines_text([latest, replace(latest, rescaled=True)])
        == f"{text}; 1 of 2 latencies rescaled from an earlier one"
    )
    assert baselines_text([steady_latency(2.0, reference_ms=2.5)]) == "idle baseline 2.500 ms"


def test_named_networks_that_were_only_measured_are_listed() -> None:
    trained, other = sample_loaded(0).records
    measured = replace(other, state="not trained", number=2)
    assert untrained_text([trained, other, measured]) == untrained_text([trained]) == ""
    assert untrained_text([trained, measured]) == (
        "Named networks not trained yet: ThreshNet79; they take at most half of the trainings of a study."
    )
