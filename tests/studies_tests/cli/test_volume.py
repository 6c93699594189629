"""The command that shows the growth of fronts."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import plotly.graph_objects as go
import pytest
from studies_tests.sample import sample_loaded, store, with_stopped

from search.volume import curve, plateau
from space import Limits
from studies import cli
from studies.figures.chrome import NoChrome
from studies.figures.front import HEIGHT, WIDTH
from studies.fronts.front import front_of
from studies.fronts.wording import box_text
from studies.study import ended, full_training, load_study, study_box

Run = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `threshnet volume` in a folder with the studies a and b in one storage and another study a in a second."""
    monkeypatch.chdir(tmp_path)
    store(with_stopped(sample_loaded()), "a", "journal:x.log")
    store(sample_loaded(6, seed=1), "b", "journal:x.log")
    store(sample_loaded(6, seed=3, limits=Limits()), "a", "journal:y.log")
    store(sample_loaded(0, ()), "empty", "journal:x.log")
    capsys.readouterr()

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["threshnet", "volume", *arguments])
        status: int | str | None = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        return (status, *capsys.readouterr())

    return run


def test_one_study_is_shown_relative_to_its_own_box(run: Run) -> None:
    status, out, err = run("a", "--storage", "journal:x.log")
    assert (status, err) == (0, "")
    loaded = load_study("a", "journal:x.log")
    steps = curve(ended(loaded), study_box(loaded))
    words = " ".join(out.split())
    assert f"Hypervolume in percent of the box of a: {box_text(study_box(loaded))}" in words
    front = front_of(loaded)
    assert f" {front.share_percent:.2f} {front.linear_share_percent:.2f} " in words
    assert f"a {len(steps)} {steps[-1].image_passes / full_training(loaded):.1f} " in words
    assert f"{steps[-1].share_percent:.2f}" in words
    assert f"a: {plateau(steps).summary} a: idle baseline 1.020 ms" in words
    assert f"Note: {loaded.spec.caveat}." in words
    assert "not comparable" not in words


def test_several_studies_share_the_box_of_the_first(run: Run) -> None:
    command = ["a", "b", "a", "--storage", "journal:x.log", "--storage", "journal:x.log", "--storage", "journal:y.log"]
    status, out, err = run(*command, "--json")
    assert (status, err) == (0, "")
    output = json.loads(out)
    first = load_study("a", "journal:x.log")
    assert output["reference"] == {"latency_ms": 3.0, "error_percent": 90.0}
    box = study_box(first)
    assert output["box"] == asdict(box)
    assert output["full_training"] == full_training(first)
    assert list(output["studies"]) == ["a (journal:x.log)", "b (journal:x.log)", "a (journal:y.log)"]
    other = load_study("a", "journal:y.log")
    last = output["studies"]["a (journal:y.log)"]
    assert last["curve"][-1]["hypervolume"] == curve(ended(other), box)[-1].hypervolume
    assert last["plateau"]["told"] == plateau(curve(ended(other), box)).summary
    linear = curve(ended(other), box.linear)[-1]
    assert last["linear"] == {
        "hypervolume": pytest.approx(linear.hypervolume),
        "hypervolume_percent": pytest.approx(linear.share_percent),
    }
    assert last["baseline"] == "idle baseline 1.020 ms"
    assert output["caveat"] == f"{first.spec.caveat}; not comparable with a: they differ in limits"
    assert f"Note: {output['caveat']}." in " ".join(run(*command)[1].split())


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("", "Missing argument 'STUDY...'"),
        ("a b c --storage journal:x.log --storage journal:y.log", "--storage 2 times for 3 studies"),
        ("a b a --storage journal:x.log", "a, b, a: a study is named twice"),
        ("a gone --storage journal:x.log", "no study is named 'gone'"),
        ("a empty --storage journal:x.log", "study 'empty' has no trained network yet"),
        ("a --storage journal:x.log --png x.log/inside.png", "cannot be written"),
    ],
)
def test_bad_input_ends_in_one_line(run: Run, command: str, part: str) -> None:
    status, _, err = run(*command.split())
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert part in err


def test_the_curves_are_drawn_to_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []

    def draw(chart: go.Figure, width: int, height: int, scale: int) -> bytes:
        drawn.append((width, height))
        return b"a picture"

    monkeypatch.setattr("studies.figures.files.draw", draw)
    status, _, err = run("a", "b", "--storage", "journal:x.log", "--png", "out/v.png")
    assert (status, err) == (0, "wrote out/v.png\n")
    assert drawn == [(WIDTH, HEIGHT)]


def test_a_missing_browser_is_reported_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> bytes:
        raise NoChrome("no Chrome or Chromium found")

    monkeypatch.setattr("studies.figures.files.draw", fail)
    status, _, err = run("a", "--storage", "journal:x.log", "--png", "v.png")
    assert (status, err) == (0, "v.png not written: no Chrome or Chromium found\n")
