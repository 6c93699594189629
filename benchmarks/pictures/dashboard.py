"""Take screenshots of a study in optuna-dashboard for the documentation: trial table, a trial, and attached figures.

python -m benchmarks.pictures.dashboard STUDY --output docs/pages/pictures
"""

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.pictures.page import SCALE, chromium, compressed
from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE
from studies.fronts.front import front_of
from studies.study import LoadedStudy, load_study
from threshnet.errors import InputError

START_S = 60.0  # time for the server to respond
WIDTH, HEIGHT = 1400, 1150  # of the browser window, in pixels
# Scrolls a header of a table to the corner below the bar of the dashboard.
SCROLL = "element => { element.scrollIntoView({ block: 'start', inline: 'start' }); scrollBy(0, -100); }"


@dataclass(frozen=True)
class Server:
    """A running optuna-dashboard."""

    url: str

    def get(self, path: str) -> tuple[str, bytes]:
        """Return the content type and the body of a response."""
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return response.headers["Content-Type"], response.read()

    def study_id(self, name: str) -> int:
        """Return the id of a study."""
        summaries = json.loads(self.get("/api/studies")[1])["study_summaries"]
        return next(int(one["study_id"]) for one in summaries if one["study_name"] == name)


@contextmanager
def dashboard(storage: str, weights: Path) -> Iterator[Server]:
    """Run optuna-dashboard on a free port with the documented command. Raises InputError if it does not start."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [str(program), storage, "--artifact-dir", str(weights), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server, until = Server(f"http://127.0.0.1:{port}"), time.monotonic() + START_S
    try:
        while True:
            try:
                server.get("/api/meta")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise InputError(f"{' '.join(command)}: does not respond") from None
                time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take all screenshots and write them as PNG files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", help="name of the study")
    parser.add_argument("--storage", default=DEFAULT_STORAGE, help="storage of the study [%(default)s]")
    parser.add_argument("--runs", type=Path, default=DEFAULT_RUNS, help="folder of the weights [%(default)s]")
    parser.add_argument("--output", type=Path, required=True, help="folder for the screenshots")
    args = parser.parse_args(arguments)
    loaded = load_study(args.study, args.storage, runs=args.runs)
    for name, data in pictures(loaded, args.storage):
        (args.output / f"{name}.png").write_bytes(data)
        print(f"wrote {args.output / name}.png, {len(data) / 1000:.0f} kB")  # noqa: T201


def pictures(loaded: LoadedStudy, storage: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of each screenshot. Raises InputError if Chromium is missing."""
    executable = chromium()
    with dashboard(storage, loaded.weights) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        address = f"{server.url}/dashboard/studies/{server.study_id(loaded.spec.name)}"
        table = _opened(browser, f"{address}/smartSelection")
        table.get_by_role("columnheader", name="UserAttribute block1.growth").first.evaluate(SCROLL)
        yield "dashboard_table", _shot(table)
        knee = front_of(loaded).picked.number
        trial = _opened(browser, f"{address}/trials?numbers={knee}")
        trial.get_by_text("block1.growth").first.wait_for()
        yield "dashboard_trial", _shot(trial)
        figures = _opened(browser, address)
        figures.get_by_text("Validation error at the rungs").first.scroll_into_view_if_needed()
        yield "dashboard_figures", _shot(figures)
        browser.close()


def _opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
    page.goto(address)
    return page


def _shot(page: Page) -> bytes:
    page.wait_for_timeout(2000)  # milliseconds; the dashboard animates what it loads
    data = page.screenshot()
    page.close()
    return compressed(data)


if __name__ == "__main__":
    main()
