"""optuna-dashboard on one of our studies: trials, weights and pictures, over HTTP and in Chromium."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from search_tests.tiny import LARGEST, SMALLEST
from studies_tests.small import name_networks, small_spec

from studies.study import OBJECTIVES, launch_study

pytestmark = pytest.mark.services

START_S = 60.0  # until the server must respond


@dataclass(frozen=True)
class Served:
    """A study served by optuna-dashboard."""

    url: str
    # The study in the format of the dashboard's API.
    study: dict[str, Any]

    def get(self, path: str) -> tuple[str, bytes]:
        """Return the content type and the body of a response."""
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return response.headers["Content-Type"], response.read()


@pytest.fixture
def served(log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A real server, started with the documented command, on a study of three networks."""
    name_networks(monkeypatch, {"smallest": SMALLEST, "largest": LARGEST}, first=True)
    storage = f"sqlite:///{tmp_path / 'threshnet.db'}"
    loaded, _ = launch_study(small_spec(), storage, runs=tmp_path / "runs")
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [str(program), storage, "--artifact-dir", str(loaded.weights), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        served = Served(url, {})
        while True:
            try:
                served.get("/api/meta")
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
        [study] = json.loads(served.get("/api/studies")[1])["study_summaries"]
        yield Served(url, study | json.loads(served.get(f"/api/studies/{study['study_id']}")[1]))
    finally:
        server.terminate()
        server.wait(30)


def test_the_dashboard_serves_the_picture_and_the_weights_of_every_trained_network(served: Served) -> None:
    assert served.study["study_name"] == "small"
    assert served.study["objective_names"] == OBJECTIVES
    assert len(served.study["trials"]) == 3
    for trial in served.study["trials"]:
        files = {artifact["filename"]: artifact for artifact in trial["artifacts"]}
        assert files.keys() == {"schedule.svg", "model.safetensors", "latency-cpu-onnxruntime.csv"}
        artifacts = f"/artifacts/{served.study['study_id']}/{trial['trial_id']}/"
        kind, picture = served.get(artifacts + files["schedule.svg"]["artifact_id"])
        assert kind == "image/svg+xml"
        assert f"<title>Trial {trial['number']} of small".encode() in picture
        _, weights = served.get(artifacts + files["model.safetensors"]["artifact_id"])
        assert b'"block1_layer1_conv1' in weights


def test_a_browser_shows_the_picture_of_a_trial_without_an_error(served: Served) -> None:
    errors: list[str] = []
    address = f"{served.url}/dashboard/studies/{served.study['study_id']}/trials?numbers=1"
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
