"""optuna-dashboard on one of our studies: trials, weights and pictures, over HTTP and in Chromium."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from search_tests.tiny import LARGEST, SMALLEST
from studies_tests.small import name_networks, small_spec

from benchmarks.pictures.dashboard import Server, dashboard
from studies.library import launch
from studies.study import OBJECTIVES

pytestmark = pytest.mark.services


@dataclass(frozen=True)
class Served:
    """A study served by optuna-dashboard."""

    server: Server
    # The study in the format of the dashboard's API.
    study: dict[str, Any]


@pytest.fixture
def served(log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A real server, started with the documented command, on a study of three networks."""
    name_networks(monkeypatch, {"smallest": SMALLEST, "largest": LARGEST}, first=True)
    storage = f"sqlite:///{tmp_path / 'threshnet.db'}"
    loaded = launch(small_spec(), storage, runs=tmp_path / "runs", progress=False).loaded
    with dashboard(storage, loaded.weights) as server:
        study_id = server.study_id("small")
        yield Served(server, {"study_id": study_id} | json.loads(server.get(f"/api/studies/{study_id}")[1]))


def test_the_dashboard_serves_the_picture_and_the_weights_of_every_trained_network(served: Served) -> None:
    assert served.study["name"] == "small"
    assert served.study["objective_names"] == OBJECTIVES
    assert len(served.study["trials"]) == 3
    for trial in served.study["trials"]:
        files = {artifact["filename"]: artifact for artifact in trial["artifacts"]}
        assert files.keys() == {"schedule.svg", "model.safetensors", "latency-cpu-onnxruntime.csv"}
        artifacts = f"/artifacts/{served.study['study_id']}/{trial['trial_id']}/"
        kind, picture = served.server.get(artifacts + files["schedule.svg"]["artifact_id"])
        assert kind == "image/svg+xml"
        assert f"<title>Trial {trial['number']} of small".encode() in picture
        attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert attributes["block1.growth"] in {"2", "4", "6", "8", "10", "12"}
        assert float(attributes["error after 1 epoch"]) == trial["values"][0]
        _, samples = served.server.get(artifacts + files["latency-cpu-onnxruntime.csv"]["artifact_id"])
        assert samples.startswith(b"round,run,ms,reference_ms\n1,1,")
        _, weights = served.server.get(artifacts + files["model.safetensors"]["artifact_id"])
        assert b'"block1_layer1_conv1' in weights


def test_the_dashboard_serves_the_figure_and_the_notes_of_the_front(served: Served) -> None:
    assert [figure["id"] for figure in served.study["plotly_graph_objects"]] == ["errors-at-rungs"]
    noted = [trial["number"] for trial in served.study["trials"] if trial["note"]["body"]]
    assert noted == [trial["number"] for trial in served.study["best_trials"]]


def test_a_browser_shows_the_picture_of_a_trial_without_an_error(served: Served) -> None:
    errors: list[str] = []
    address = f"{served.server.url}/dashboard/studies/{served.study['study_id']}/trials?numbers=1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1200})
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(address)
            picture = page.locator("img[alt='schedule.svg']")
            picture.wait_for()
            picture.scroll_into_view_if_needed()
            page.wait_for_function("() => document.querySelector(\"img[alt='schedule.svg']\").naturalWidth > 0")
        finally:
            browser.close()
    assert errors == []
