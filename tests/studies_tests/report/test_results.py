"""The reports of a study: tables, pictures and a results folder."""

import csv
import getpass
import json
import platform
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from studies_tests.sample import CAVEAT, remeasured, sample_loaded, with_stopped

from search.data import DataSettings
from search.latency.probes.probe import usable_processors
from studies.environment import PACKAGES, environment
from studies.figures.chrome import NoChrome
from studies.fronts.as_json import study_json
from studies.fronts.front import front_of, fronts_of
from studies.fronts.moves import moves
from studies.fronts.wording import change_text, title, verdict
from studies.report import results as report
from studies.study import LoadedStudy, progress_of
from threshnet import NAMED, InputError, __version__

FILES = ["README.md", "environment.json", "front.json", "trials.csv"]


@pytest.fixture(scope="module")
def study() -> LoadedStudy:
    """The sample study, launched on a folder of images, with trials of further states."""
    loaded = sample_loaded(discovered=40, named=tuple(NAMED))
    first = loaded.records[0]
    number = len(loaded.records)
    untrained = replace(first, error=None, latency_ms=None, named=None, latency={}, epochs=(), image_passes=0)
    others = [
        replace(untrained, number=number, state="not trained", reason="violates the constraint on params by 12 %"),
        replace(untrained, number=number + 1, state="failed", reason="diverged, alas"),
        replace(first, number=number + 2, state="duplicate", duplicate_of=3, named=None),
        replace(untrained, number=number + 3, state="waiting", network=None, costs={}, fingerprint=None),
    ]
    data = DataSettings("folder", Path.home() / "images", train=800, validation=400)
    return replace(
        loaded,
        records=[*loaded.records, *others],
        spec=replace(loaded.spec, data=data),
        environments=[environment(), environment()],
    )


@pytest.fixture
def results(study: LoadedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder, drawn without a browser."""
    monkeypatch.setattr(report, "write_png", lambda front, file: file.write_bytes(b"a picture"))
    list(report.write(study, fronts_of(study), progress_of(study), folder=tmp_path / "deep" / "results"))
    return tmp_path / "deep" / "results"


def test_a_results_folder_is_complete(results: Path) -> None:
    assert sorted(file.name for file in results.iterdir()) == sorted([*FILES, "figure.png"])


def test_every_trial_is_in_the_table(results: Path, study: LoadedStudy) -> None:
    with (results / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == [record.state for record in study.records]
    assert [int(row["trial"]) for row in rows] == [record.number for record in study.records]
    for row, record in zip(rows, study.records, strict=True):
        assert row["name"] == (title(record) if record.named else "")
        if record.trained:
            assert float(row["error_percent"]) == pytest.approx(record.error)
            assert float(row["latency_ms"]) == pytest.approx(record.latency_ms)
            low, high = (float(row[f"cpu onnxruntime: {end} ms"]) for end in ("low", "high"))
            assert low <= float(row["cpu onnxruntime: ms"]) == float(row["latency_ms"]) <= high
            assert row["cpu onnxruntime: runs"] == "320"
            reading = record.latency["cpu onnxruntime"]
            assert float(row["cpu onnxruntime: ratio to the reference"]) == pytest.approx(reading.ratio[0])
            assert float(row["cpu onnxruntime: relative iqr"]) == pytest.approx(reading.relative_iqr)
            assert row["cpu onnxruntime: warnings"] == "; ".join(reading.warnings)
        else:
            assert row["error_percent"] == row["latency_ms"] == ""
        assert row["params"] == str(record.costs.get("params", ""))  # whole, without a point
    assert rows[-3]["reason"] == "diverged, alas"
    assert rows[-2]["duplicate_of"] == "3"


def test_the_front_is_written_as_the_pareto_command_prints_it(results: Path, study: LoadedStudy) -> None:
    stored = json.loads((results / "front.json").read_text())
    assert stored == report.results_json(fronts_of(study), progress_of(study))
    assert stored == study_json(fronts_of(study)) | progress_of(study).to_json()


def test_the_environment_has_versions_and_settings_but_nothing_that_identifies_the_machine(
    results: Path, study: LoadedStudy
) -> None:
    text = (results / "environment.json").read_text()
    stored = json.loads(text)
    assert stored["launches"] == study.environments
    for launch in stored["launches"]:
        assert set(launch["versions"]) == {*PACKAGES, "threshnet-nas"}
        assert launch["processor"]
        assert launch["cores"] == usable_processors()
    assert stored["spec"]["data"]["train"] == 800
    assert stored["spec"]["latency"]["device"] == "cpu"
    for private in (str(Path.home()), str(Path.cwd()), "/images"):
        assert private not in text
    for host in (socket.gethostname(), platform.node()):
        assert not re.search(rf"\b{re.escape(host)}\b", text)
    assert f'"{getpass.getuser()}"' not in text
    assert study.spec.dataset.path is not None  # it exists, and was left out


def test_the_page_describes_the_search_and_its_conditions(results: Path, study: LoadedStudy) -> None:
    page = (results / "README.md").read_text()
    front = front_of(study)
    assert len(page.splitlines()) <= 60
    for part in (
        CAVEAT,
        "figure.png",
        "45 trained, 40 of them discovered",
        "1 failed",
        "n = 1 training per network",
        "400 images held out of the training split",
        "No test image was used",
        "95 % interval",
        f"{study.environments[-1]['processor']}, {usable_processors()} core(s)",
        f"torch {study.environments[-1]['versions']['torch']}",
        "onnxruntime 1.22.0, fp32, batch 1, 1 thread(s)",
        "32x32",
        f"Hypervolume: {front.share_percent:.2f} % of the box ({front.box.min_latency_ms:.4g} to 3 ms on a log axis, "
        f"0 to 90 % error); {front.linear_share_percent:.2f} % on a linear axis. The front",
        progress_of(study).plateau.summary,
        progress_of(study).correlation.summary,
    ):
        assert part in page
    for record in front.front[: report.MAX_LISTED]:
        assert f"| {title(record)}{' (knee)' if record is front.knee else ''} | {record.error:.2f} |" in page
    for point in front.named:
        assert verdict(point) in page
    assert str(Path.home()) not in page


def test_a_long_front_is_shortened_to_fit(study: LoadedStudy) -> None:
    first = front_of(study).front[0]
    line = [replace(first, number=n, latency_ms=1 + n, error=90.0 - n) for n in range(60)]
    named = [replace(first, number=60 + n, named=name, latency_ms=100.0, error=99.0) for n, name in enumerate(NAMED)]
    long = replace(study, records=[*line, *named])
    page = report.results_page(long, fronts_of(long), progress_of(long))
    assert "| and 40 more in front.json |" in page
    assert len(page.splitlines()) <= 60


def test_other_backends_have_their_own_fronts_columns_and_changes(
    study: LoadedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(report, "write_png", lambda fronts, file: drawn.append(fronts))
    several = sample_loaded(discovered=40, named=tuple(NAMED))
    for number, runtime in enumerate(("torch", "openvino", "tvm", "ncnn"), start=1):
        several = remeasured(several, "cpu", runtime, missing=range(number), seed=number)
    several = replace(several, environments=study.environments)
    fronts = fronts_of(several)
    list(report.write(several, fronts, progress_of(several), folder=tmp_path))
    assert drawn == [fronts]
    page = (tmp_path / "README.md").read_text()
    assert len(page.splitlines()) <= 60
    for front in fronts[1:4]:
        backend = f"- On {front.backend} (Imaginary Arm @ 1.5 GHz, {front.backend.split()[1]} 1.22.0): "
        shares = f"{len(front.front)} of {len(front.trained)} networks on the front, knee {title(front.picked)}; "
        assert f"{backend}{shares}{change_text(moves(fronts[0], front))}." in page
    assert "- Further backends, 1 of them: front.json." in page
    assert pd.read_csv(tmp_path / "trials.csv")["cpu ncnn: ms"].notna().sum() == 41
    stored = json.loads((tmp_path / "front.json").read_text())
    assert list(stored["backends"]) == ["cpu torch", "cpu openvino", "cpu tvm", "cpu ncnn"]


def test_rungs_are_in_the_table_and_stopped_networks_on_the_page(study: LoadedStudy) -> None:
    loaded = replace(with_stopped(sample_loaded()), environments=study.environments)
    *_, stopped, done = json.loads(report.trials_table(loaded).to_json(orient="records"))
    assert (stopped["state"], done["state"]) == ("stopped", "finished")
    assert stopped["error_percent"] is stopped["continues"] is None
    assert stopped["cpu onnxruntime: ms"] > 0
    assert (list(json.loads(stopped["rungs"])), json.loads(done["rungs"])) == (["2"], {"2": 55.0, "6": 25.0})
    assert (done["continues"], done["image_passes"]) == (stopped["trial"], 60_000)
    page = report.results_page(loaded, fronts_of(loaded), progress_of(loaded))
    assert len(page.splitlines()) <= 60
    assert "Stopped early: 3 networks after 2 epochs." in page
    assert ", 3 stopped" in page


def test_without_a_browser_everything_else_is_written_and_the_missing_pictures_are_reported(
    study: LoadedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(front: object, file: Path) -> None:
        raise NoChrome("no Chrome or Chromium found")

    monkeypatch.setattr(report, "write_png", fail)
    lines = list(report.write(study, fronts_of(study), progress_of(study), folder=tmp_path, png=tmp_path / "front.png"))
    assert lines == [
        f"{tmp_path / 'front.png'} not written: no Chrome or Chromium found",
        f"{tmp_path / 'figure.png'} not written: no Chrome or Chromium found",
        f"wrote {tmp_path}",
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES


def test_the_csv_file_equals_the_table_in_the_results_folder(study: LoadedStudy, results: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "all.csv"
    assert list(report.write(study, fronts_of(study), progress_of(study), csv=file)) == [f"wrote {file}"]
    assert file.read_text() == (results / "trials.csv").read_text()
    assert len(pd.read_csv(file)) == len(study.records)


@pytest.mark.parametrize("kind", ["html", "csv", "png", "folder"])
def test_an_output_that_cannot_be_written_is_reported(kind: str, study: LoadedStudy, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    target: dict[str, Any] = {kind: blocker / "inside"}
    with pytest.raises(InputError, match=f"{blocker}.*cannot be written") as caught:
        list(report.write(study, fronts_of(study), progress_of(study), **target))
    assert "\n" not in str(caught.value)


def test_the_environment_describes_this_process() -> None:
    assert environment()["python"] == platform.python_version()
    assert environment()["versions"]["threshnet-nas"] == __version__


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.environment.PACKAGES", ("torch", "not-installed-here"))
    assert environment()["versions"]["not-installed-here"] is None


def test_results_replace_no_readme_of_another_origin(study: LoadedStudy, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("precious")
    with pytest.raises(InputError, match=r"README\.md: another file of this name exists; choose another folder"):
        list(report.write(study, fronts_of(study), progress_of(study), folder=tmp_path))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["precious"]
