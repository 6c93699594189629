"""Every command that a command prints as the next one is run as printed, in the same folder and environment."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from search_tests.tiny import StubMeasurement, steady_latency
from studies_tests.cli.test_cli import TOML, Output, Run, run

from search.latency import check as device_check
from search.latency import measure
from search.latency.reading import reading_warnings
from studies.cli.options import next_text
from studies.export.card import ExportResult, ModelInfo
from studies.export.folder import ExportedModel
from studies.spec import StudySpec
from studies.start.study_file import suggested
from threshnet.export.folder import Exported

__all__ = ["run"]

NEXT = re.compile(r"^Next(?:, .*?)?: threshnet (.*)$", re.MULTILINE)


def steps(output: Output) -> list[list[str]]:
    """The printed next commands of a command that succeeded, without the program."""
    assert output.status == 0, output.err
    return [shlex.split(command) for command in NEXT.findall(output.out)]


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace all readings by stubs; networks are trained."""
    log: list[str] = []
    stub = StubMeasurement(log, lambda spec: 0.5)
    for module in ("search.objective", "studies.start.study_file", "studies.start.dry_run"):
        monkeypatch.setattr(f"{module}.measure_on", stub)
    monkeypatch.setattr("studies.remeasure.measure_all", stub.interleaved)
    monkeypatch.setattr("search.final.measure_all", stub.again)
    monkeypatch.setattr(measure, "measure_on", stub)
    monkeypatch.setattr(device_check, "measure_on", stub)
    return log


def follow(run: Run, *first: str, leave: str = "") -> dict[str, list[list[str]]]:
    """Run a command and all commands that follow from it; returns the printed commands by the command before them.

    A command that was run with the same words is not run again, and the command `leave` is not run.
    """
    found: dict[str, list[list[str]]] = {}
    todo = [list(first)]
    while todo:
        words = todo.pop(0)
        if shlex.join(words) not in found and words[0] != leave:
            found[shlex.join(words)] = steps(run(*words))
            todo += found[shlex.join(words)]
    return found


def names(found: dict[str, list[list[str]]]) -> list[str]:
    """The commands that were run, without their arguments."""
    return [command.split()[0] for command in found]


PLACES = [
    pytest.param(["--storage", "journal:a folder/my studies.log", "--runs", "my runs"], {}, id="options"),
    pytest.param([], {"OPTUNA_STORAGE": "sqlite:///a folder/x.db"}, id="environment"),
    pytest.param(["--storage", "sqlite:///threshnet.db"], {"OPTUNA_STORAGE": "sqlite:///gone/x.db"}, id="both"),
]


@pytest.mark.usefixtures("stubbed")
def test_a_launch_leads_to_a_verified_model(run: Run) -> None:
    Path("mine.toml").write_text(TOML)
    assert names(follow(run, "launch", "mine.toml")) == ["launch", "pareto", "pick", "export", "check"]
    assert Path("front.html").is_file()
    assert len(list(Path().glob("mine-trial*/model.onnx"))) == 1


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize(("place", "environment"), PLACES)
def test_the_next_commands_find_the_study(
    run: Run, place: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(_model: object, folder: Path, info: ModelInfo, *_others: object) -> ExportedModel:
        return ExportedModel(info, ExportResult(Exported(folder, {}, 0.0), {}))

    monkeypatch.setattr("studies.export.folder.export_model", export)  # an export takes seconds
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    Path("a folder").mkdir()
    Path("mine.toml").write_text(TOML)
    found = follow(run, "launch", "mine.toml", *place, leave="check")
    assert names(found) == ["launch", "pareto", "pick", "export"]


@pytest.mark.usefixtures("stubbed")
def test_the_page_has_commands_that_find_the_study(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.toml").write_text(TOML)
    monkeypatch.setenv("OPTUNA_STORAGE", "journal:x.log")
    page, *_ = steps(run("launch", "mine.toml", "--page", "live.html"))
    assert run(*page).status == 0
    monkeypatch.delenv("OPTUNA_STORAGE")  # the page may be read in another shell
    for file in ("front.html", "live.html"):
        before, after = json.loads(re.findall(r'"export":(\[.*?\])', Path(file).read_text())[0])
        words = shlex.split(f"{before}0{after}0")
        assert words == [
            "threshnet",
            "export",
            "mine",
            "--trial",
            "0",
            "--storage",
            "journal:x.log",
            "-o",
            "mine-trial0",
        ]


@pytest.mark.usefixtures("stubbed")
def test_a_dry_run_leads_to_the_launch_with_the_same_options(run: Run, tree: Path) -> None:
    Path("mine.toml").write_text(TOML)
    place = ["--storage", "journal:x.log", "--runs", "my runs"]
    changes = ["--trials", "1", "--until-plateau", "--data", str(tree), "--caveat", "Only noise"]
    (launch,) = steps(run("launch", "mine.toml", "--dry-run", *changes, *place))
    assert sorted(launch) == sorted(["launch", "mine.toml", *changes, *place])
    assert "Note: Only noise." in run(*steps(run(*launch))[0]).out


@pytest.mark.usefixtures("stubbed")
def test_init_leads_to_a_dry_run_and_a_launch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(*arguments: Any) -> StudySpec:  # noqa: ANN401 - as the function that it replaces
        spec = suggested(*arguments)
        data = replace(spec.dataset, train=40, validation=20)
        return replace(spec, trials=1, data=data, recipe=replace(spec.recipe, epochs=1, batch=16), rungs=())

    monkeypatch.setattr("studies.start.study_file.suggested", small)
    dry, launch = steps(run("init", "my_study.toml"))
    assert dry == ["launch", "my_study.toml", "--dry-run"]
    assert steps(run(*dry)) == [launch] == [["launch", "my_study.toml"]]
    assert "my_study: 1 network trained" in run(*launch).out


@pytest.mark.usefixtures("stubbed")
def test_the_other_commands_on_studies_lead_on(run: Run) -> None:
    Path("mine.toml").write_text(TOML)
    assert run("launch", "mine.toml").status == 0
    for first in (
        ["remeasure", "mine", "--runtime", "torch"],
        ["studies", "copy", "mine", "sqlite:///threshnet.db", "journal:copy.log"],
        ["pareto", "mine", "--backend", "cpu torch"],
    ):
        printed = steps(run(*first))
        assert printed
        for words in printed:
            assert run(*words).status == 0, words


@pytest.mark.usefixtures("stubbed")
def test_the_check_of_a_device_leads_to_a_reading(run: Run) -> None:
    (words,) = steps(run("device", "check", "cpu"))
    assert words == ["measure", "threshnet28", "--device", "cpu"]
    assert "Latency of" in run(*words).out


@pytest.mark.usefixtures("stubbed")
def test_an_outdated_baseline_names_the_command_that_measures_it_again(run: Run) -> None:
    latency = steady_latency(1.0, runtime="torch", threads=2, batch=4, channels_last=True, slowdown=0.8)
    (warning,) = reading_warnings(latency, 0.02, steady=True)
    program, *words = shlex.split(warning.partition("re-measure it with ")[2])
    assert program == "threshnet"
    output = run(*words)
    assert output.status == 0, output.err
    assert words[-1] == "--calibrate"


def test_a_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:secret@host/db"
    assert next_text("pick", "a", storage=url) == "Next, with the storage in OPTUNA_STORAGE: threshnet pick a"
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    assert next_text("pick", "a", storage=url) == "Next: threshnet pick a"
    assert next_text("pick", "a", storage="sqlite:///x.db?timeout=5") == (
        "Next: threshnet pick a --storage sqlite:///x.db"
    )
