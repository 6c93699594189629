"""The page of a study: its numbers, its limited size, and that no text in it runs or leaks a secret."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies_tests.sample import CAVEAT, remeasured, sample_loaded, with_stopped

from search.records import reading
from search.training.metrics import error_interval
from search.volume import curve
from space import Limits
from studies.defaults import DEFAULT_RUNS
from studies.fronts.front import fronts_of
from studies.fronts.wording import box_text, title, verdict
from studies.report.page.data import MAX_STEPS, corners, page_data
from studies.report.page.details import details
from studies.report.page.file import report_html, write_report
from studies.spec import stored_spec
from studies.storage import export_command, place_options
from studies.study import LoadedStudy, ended, progress_of, study_box
from threshnet import NAMED

TWO = with_stopped(remeasured(sample_loaded(20, tuple(NAMED)), "cpu", "torch", {3, 9}))
ONE = sample_loaded(0, ("threshnet79",), limits=Limits())
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{script}} ]]> <!-- \u2028"


def hostile(loaded: LoadedStudy) -> LoadedStudy:
    """Put markup and scripts into every text that comes from a user or an error message."""
    document = loaded.spec.to_json() | {"name": HOSTILE, "about": HOSTILE}  # a stored study may have any name
    document["data"] |= {"caveat": HOSTILE}
    spec = stored_spec(document, len(loaded.classes))
    records = [replace(record, reason=HOSTILE, weights="kept") for record in loaded.records]
    return replace(loaded, spec=spec, records=records)


def inside(page: str, name: str) -> str:
    """Return the text of the page's JSON element with this id."""
    text: str
    (text,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    return text


def data_of(loaded: LoadedStudy, storage: str = "sqlite:///threshnet.db") -> dict[str, Any]:
    """Return the data of a study's page after a round trip through JSON."""
    document: dict[str, Any] = json.loads(
        json.dumps(page_data(loaded, fronts_of(loaded), progress_of(loaded), storage), allow_nan=False)
    )
    return document


def test_every_trial_is_listed_with_its_values_and_intervals() -> None:
    trials, fronts = data_of(TWO)["trials"], fronts_of(TWO)
    assert {len(column) for key, column in trials.items() if key != "latency"} == {len(TWO.records)}
    assert [len(column) for column in trials["latency"]] == [len(TWO.records)] * 2
    for at, record in enumerate(TWO.records):
        assert trials["number"][at] == record.number
        assert trials["state"][at] == record.state
        assert (trials["error"][at] is not None) == record.trained
        if record.trained:
            middle, low, high = trials["error"][at]
            assert record.error is not None
            assert middle == pytest.approx(record.error, rel=1e-5)
            assert (low, high) == pytest.approx(error_interval(record.error, 200), rel=1e-5)
        for column, front in zip(trials["latency"], fronts, strict=True):
            latency = record.latency.get(front.backend)
            warned = [1] if latency and latency.warnings else []
            expected = latency and [latency.latency_ms, latency.low_ms, latency.high_ms, *warned]
            assert column[at] == (expected and pytest.approx(expected, rel=1e-5))
    assert trials["note"][-2].startswith("stopped after 2 epochs at ")
    assert trials["note"][-1] == f"resumes the training of trial {TWO.records[-2].number}"
    assert trials["note"][0].startswith("a reconstruction")


def test_fronts_are_those_of_the_pareto_command() -> None:
    for page_json, front in zip(data_of(TWO)["fronts"], fronts_of(TWO), strict=True):
        assert page_json["front"] == [record.number for record in front.front]
        assert page_json["knee"] == front.picked.number
        assert page_json["named"] == [{"trial": p.record.number, "verdict": verdict(p)} for p in front.named]
        assert page_json["conditions"].startswith(front.backend.split()[0])
        assert page_json["share"] == pytest.approx(front.share_percent, rel=1e-5)
        assert page_json["linear_share"] == pytest.approx(front.linear_share_percent, rel=1e-5)
    assert "joined the front" in data_of(TWO)["fronts"][1]["moved"]
    assert data_of(TWO)["volume"]["box"] == box_text(study_box(TWO))


def test_errors_have_no_interval_if_the_number_of_images_is_unknown() -> None:
    page_json = data_of(replace(TWO, images={"train": 1000}))
    assert page_json["validation"] is None
    assert all(error[0] == error[1] == error[2] for error in page_json["trials"]["error"] if error)


def test_the_volume_curve_keeps_its_corners_and_its_end() -> None:
    steps = curve(ended(TWO), study_box(TWO))
    kept = corners(steps)
    assert kept[0] == steps[0]
    assert kept[-1] == steps[-1]
    assert len(kept) < len(steps)
    assert sorted({step.hypervolume for step in kept}) == sorted({step.hypervolume for step in steps})
    assert len(corners([replace(steps[0], hypervolume=float(n)) for n in range(5 * MAX_STEPS)])) == MAX_STEPS + 1


@pytest.mark.parametrize(
    "loaded", [TWO, ONE, sample_loaded(6, limits=Limits(params=10))], ids=["two", "one", "infeasible"]
)
def test_the_page_is_one_file_that_allows_only_its_own_script(loaded: LoadedStudy, tmp_path: Path) -> None:
    file = tmp_path / "front.html"
    write_report(loaded, fronts_of(loaded), progress_of(loaded), file)
    page = file.read_text()
    assert "<title>Pareto front of sample</title>" in page
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    *_, script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\son\w+=|<link|@import|url\(|<img|<iframe|http:|https:", markup)
    assert set(re.findall(r"https?://[^\"'\s]+", script)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(", script)
    assert len(inside(page, "details").splitlines()) == len(json.loads(inside(page, "data"))["details"])


def test_hostile_texts_are_not_interpreted() -> None:
    loaded = hostile(TWO)
    page = report_html(loaded, fronts_of(loaded), progress_of(loaded))
    assert page.count("</script>") == 3
    assert page.count("<script") == 3
    assert "<img" not in page
    page_json = json.loads(inside(page, "data"))
    assert page_json["study"] == page_json["caveat"] == HOSTILE
    assert page_json["trials"]["note"][5] == HOSTILE


def test_details_of_cards_fit_the_size_limit_and_those_of_the_front_come_first() -> None:
    fronts = fronts_of(TWO)
    full = details(TWO, fronts)
    assert set(full) == {record.number for record in TWO.records}
    on_front = list(dict.fromkeys(record.number for front in fronts for record in front.front))
    limit = sum(len(full[number]) for number in on_front)
    assert list(details(TWO, fronts, limit))[: len(on_front)] == on_front
    assert details(TWO, fronts, 10) == {}
    first, least = len(full[on_front[0]]), min(map(len, full.values()))
    assert least < first
    assert details(TWO, fronts, least) == {n: text for n, text in full.items() if len(text) == least}
    assert all("\n" not in text for text in full.values())


def test_a_card_contains_the_raw_samples_the_training_and_the_drawing() -> None:
    page_json = {number: json.loads(text) for number, text in details(TWO, fronts_of(TWO)).items()}
    for record in TWO.records:
        one = page_json[record.number]
        assert title(record) in one["drawing"]
        assert one["losses"] == [[1, 1.5]]
        assert dict(one["rungs"]) == pytest.approx(record.rungs, rel=1e-5)
        assert [each["backend"] for each in one["readings"]] == list(record.latency)
        for each, latency in zip(one["readings"], record.latency.values(), strict=True):
            assert latency.samples is not None
            runs = [run for cycle in latency.samples.rounds_ms for run in cycle]
            assert [run for cycle in each["rounds"] for run in cycle] == pytest.approx(runs, rel=1e-3)
            assert 6 <= len(each["counted"]) < latency.rounds
            assert each["warnings"] == list(latency.warnings)
            assert each["conditions"].startswith(latency.processor)


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ("sqlite:///threshnet.db", []),
        ("journal:my runs.log", ["--storage", "journal:my runs.log"]),
        ("postgresql://me:secret@host/db", ["--storage", "postgresql://me:***@host/db"]),
        ("postgresql://host/db?user=me&password=secret", ["--storage", "postgresql://host/db"]),
    ],
)
def test_the_export_command_names_the_storage_but_no_password(storage: str, expected: list[str]) -> None:
    page_json = "7".join([*data_of(TWO, storage)["export"], ""])
    assert shlex.split(page_json) == ["threshnet", "export", "sample", "--trial", "7", *expected, "-o", "sample-trial7"]
    assert page_json == export_command("sample", 7, place_options(storage, DEFAULT_RUNS))
    elsewhere = replace(TWO, weights=Path("other place/sample/weights"))
    assert shlex.split(data_of(elsewhere)["export"][1])[:2] == ["--runs", "other place"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), st.integers(0, 10**6))
def test_the_export_command_is_quoted_for_a_shell_whatever_the_study_is_called(study: str, trial: int) -> None:
    words = shlex.split(export_command(study, trial, ["--runs", study]))
    assert words == [
        "threshnet",
        "export",
        study,
        "--trial",
        f"{trial}",
        "--runs",
        study,
        "-o",
        f"{study}-trial{trial}",
    ]


def test_latency_and_macs_are_compared_by_rank_correlation() -> None:
    page_json = data_of(TWO)["macs"]
    assert len(page_json["trials"]) == len({record.fingerprint for record in TWO.records})
    assert 0.5 < page_json["tau"] < page_json["rho"] <= 1
    assert data_of(ONE)["macs"] == {"trials": [0], "tau": None, "rho": None}


def test_an_interrupted_trial_is_not_a_second_point_of_its_network() -> None:
    one = TWO.records[-1]
    interrupted = replace(one, number=len(TWO.records), state="interrupted", error=None, latency_ms=None)
    again = replace(TWO, records=[*TWO.records, interrupted])
    assert data_of(again)["macs"] == data_of(TWO)["macs"]


def test_the_caveat_and_the_progress_are_shown() -> None:
    page_json = data_of(TWO)
    assert page_json["caveat"] == CAVEAT
    assert any(sentence.startswith("Stopped early: 3 networks") for sentence in page_json["summary"])
    assert reading(fronts_of(TWO)[0].picked).processor in page_json["fronts"][0]["conditions"]
