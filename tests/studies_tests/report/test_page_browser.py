"""The page of a study in a browser: opened from a file, offline."""

import csv
import json
import re
import shlex
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from studies_tests.report.test_page import HOSTILE, hostile, inside
from studies_tests.sample import many, remeasured, sample_loaded, with_stopped

from studies.fronts.front import front_of, fronts_of
from studies.fronts.wording import title
from studies.report.page.file import report_html, write_report
from studies.study import LoadedStudy, progress_of
from threshnet import NAMED

pytestmark = pytest.mark.services

# Limits in seconds to open a study of thousands of trials, and to filter and sort it: processor time of the page's
# thread, which other programs do not add to.
OPENED_S = 3.0
FILTERED_S = 0.5
CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3
OWN = ("file:", "blob:")  # what the page may request: itself, and the table that it offers as a download
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def study() -> LoadedStudy:
    """A study on two backends with a trial of each kind, all with stored weights."""
    loaded = with_stopped(remeasured(sample_loaded(60, tuple(NAMED)), "cpu", "torch", {3, 9}))
    return replace(loaded, records=[replace(record, weights="kept") for record in loaded.records])


@pytest.fixture(scope="module")
def file(study: LoadedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the study."""
    path = tmp_path_factory.mktemp("page") / "a study.html"
    write_report(study, fronts_of(study), progress_of(study), path, "sqlite:///my runs/study.db")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium or google-chrome is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh, offline browser profile; a test's parameter adds settings."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})})
    context.set_offline(True)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, file: Path) -> Iterator[Page]:
    """The study's page in a browser; fails the test if the page fetched anything or logged an error."""
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(OWN) else problems.append(request.url))
    open_page(page, file)
    yield page
    assert problems == []


def open_page(page: Page, file: Path) -> None:
    """Open a file and wait until its front is drawn."""
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready] #fronts .stairs", state="attached")


class Clock:
    """The processor time of the thread that runs a page's script and layout, from the DevTools protocol."""

    def __init__(self, page: Page) -> None:
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.before_s = 0.0

    def spent_s(self) -> float:
        """Return the seconds since the last call, or since the page was created."""
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        now_s = next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")
        spent_s, self.before_s = now_s - self.before_s, now_s
        return spent_s


def numbers(page: Page) -> list[int]:
    """List the trials in the table, in order."""
    return [int(text) for text in page.locator("#table tbody th button").all_inner_texts()]


def point(page: Page, trial: int, panel: int = 0) -> Locator:
    """Locate the marker of a network in a panel."""
    return page.locator(f'#front-{panel} .point[data-trial="{trial}"]')


def center(element: Locator) -> tuple[float, float]:
    """Return the center of an element, in pixels of the window."""
    box = element.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_both_fronts_are_drawn_with_every_named_network(page: Page, study: LoadedStudy) -> None:
    for panel, front in enumerate(fronts_of(study)):
        drawn = page.locator(f"#front-{panel} .point")
        named = {one.record.number for one in front.named}
        expected = {record.number for record in front.front} | named
        assert {int(each.get_attribute("data-trial") or -1) for each in drawn.all()} == expected
        labels = page.locator(f"#front-{panel} .labels .named").all_text_contents()
        assert {title(one.record) for one in front.named} <= set(labels)
    assert "200 validation images" in page.inner_text("#front-caption")
    assert "seed-to-seed variance" in page.inner_text("#front-caption")


@pytest.mark.parametrize("networks", [1, 3])
def test_a_knee_is_shown_only_on_a_front_of_three_or_more(
    networks: int, context: BrowserContext, tmp_path: Path
) -> None:
    loaded = sample_loaded(1, tuple(NAMED)[:2] if networks == 3 else ())
    fronts, path = fronts_of(loaded), tmp_path / "few.html"
    assert len(fronts[0].front) == networks
    write_report(loaded, fronts, progress_of(loaded), path, "sqlite:///x.db")
    page = context.new_page()
    open_page(page, path)
    places = ("#fronts circle.knee", "#legend .knee", "#figures dt:has-text('knee')")
    assert [page.locator(place).count() for place in places] == [int(networks == 3)] * 3


def test_hovering_highlights_the_network_in_every_panel(page: Page, study: LoadedStudy) -> None:
    best = next(record for record in front_of(study).front if len(record.latency) == 2)
    page.mouse.move(*center(point(page, best.number)))
    expect(page.locator("#tip")).to_be_visible()
    assert page.inner_text("#tip strong") == title(best)
    assert f"{best.error:.2f} %" in page.inner_text("#tip")
    for panel in range(2):
        expect(page.locator(f"#front-{panel} .ring")).to_have_attribute("visibility", "visible")
    page.mouse.move(5, 5)
    expect(page.locator("#tip")).to_be_hidden()


def test_a_click_opens_the_card_and_escape_closes_it(page: Page, study: LoadedStudy) -> None:
    first, second, *_ = front_of(study).front
    page.mouse.click(*center(point(page, first.number)))
    card = page.locator("#card")
    expect(card).to_be_visible()
    assert page.inner_text("#card-title") == title(first)
    assert f"{first.costs['params']:,}" in card.inner_text()
    assert page.locator("#card-drawing svg.threshnet-drawing .links").count() > 0
    assert page.locator("#card-samples-0 .dots.sample").count() == 2
    assert page.locator("#card-samples-1 .dots.sample").count() == 2
    page.get_by_role("button", name="Slower network of the front").click()
    assert page.inner_text("#card-title") == title(second)
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_the_keyboard_moves_along_the_front_and_opens_a_card(page: Page, study: LoadedStudy) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.point')"):
            break
    focused = "Number(document.activeElement.dataset.trial)"
    before = page.evaluate(focused)
    page.keyboard.press("ArrowRight")
    trial = page.evaluate(focused)
    assert trial != before
    assert page.evaluate("getComputedStyle(document.activeElement.querySelector('.focus')).stroke") != "none"
    expect(page.locator("#tip")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#card")).to_be_visible()
    assert page.inner_text("#card-title") == title(study.records[trial])
    assert page.evaluate("document.activeElement.id") == "card-title"
    page.keyboard.press("Escape")
    expect(point(page, trial)).to_be_focused()


def test_the_keyboard_reaches_every_network_in_order_of_latency(page: Page, study: LoadedStudy) -> None:
    front, focused = front_of(study), "Number(document.activeElement.dataset.trial)"
    walk = [record.number for record in sorted(front.trained, key=lambda one: (one.latency_ms, one.error))]
    marked = {one.number for one in front.front} | {one.record.number for one in front.named}
    dominated = next(number for number in walk if number not in marked)
    page.locator('#front-0 .point[tabindex="0"]').press("Home")
    seen = []
    for _ in walk:
        seen.append(page.evaluate(focused))
        page.keyboard.press("ArrowRight")
    assert seen == walk
    assert page.evaluate(focused) == walk[0]
    assert page.locator("#front-0 .point").count() == len(
        marked
    )  # a dominated network has a button only while it is focused
    while page.evaluate(focused) != dominated:
        page.keyboard.press("ArrowRight")
    network = study.records[dominated]
    assert network.error is not None
    assert page.evaluate("document.activeElement.ariaLabel").startswith(
        f"{title(network)}, error {int(network.error)}."
    )
    assert page.evaluate("document.querySelectorAll('#front-0 [tabindex=\"0\"]').length") == 1
    page.keyboard.press("Enter")
    assert page.inner_text("#card-title") == title(network)
    page.keyboard.press("Escape")
    expect(point(page, dominated)).to_be_focused()
    page.keyboard.press("ArrowDown")
    slower = walk[walk.index(dominated) :]
    assert page.evaluate(focused) == next(number for number in slower if number in marked)
    page.keyboard.press("End")
    assert page.evaluate(focused) == walk[-1]


def test_leaving_a_plot_clears_its_highlight_and_the_shortcuts_of_the_browser_still_work(page: Page) -> None:
    focused, start = "Number(document.activeElement.dataset.trial)", page.locator('#front-0 .point[tabindex="0"]')
    start.press("Home")
    trial = page.evaluate(focused)
    for keys in ("Alt+ArrowRight", "Control+End"):
        page.keyboard.press(keys)
        assert page.evaluate(focused) == trial
    page.locator("#filter").focus()
    assert page.locator('.ring[visibility="visible"]').count() == 0


def test_with_a_filter_the_keyboard_reaches_only_matching_networks_and_the_front(
    page: Page, study: LoadedStudy
) -> None:
    front, focused = front_of(study), "Number(document.activeElement.dataset.trial)"
    marked = {one.number for one in front.front} | {one.record.number for one in front.named}
    page.fill("#filter", "no such text")
    page.locator('#front-0 .point[tabindex="0"]').press("Home")
    for _ in marked:
        assert page.evaluate(focused) in marked
        page.keyboard.press("ArrowRight")


def test_a_row_of_the_table_opens_the_card_of_its_trial(page: Page, study: LoadedStudy) -> None:
    stopped = next(record for record in study.records if record.state == "stopped")
    page.fill("#filter", "stopped")
    page.locator(f'#table tr[data-trial="{stopped.number}"]').click()
    assert page.inner_text("#card-title") == title(stopped)
    assert f"stopped after 2 epochs at {stopped.rungs[2]:.2f} %" in page.inner_text("#card")
    assert page.locator("#card-training .dots").count() == 1


def test_the_filter_applies_to_table_and_plot(page: Page, study: LoadedStudy) -> None:
    expect(page.locator("#count")).to_have_text(f"{len(study.records)} of {len(study.records)} trials")
    page.fill("#filter", "error<30 hardnet")
    expected = [r.number for r in study.records if "hardnet" in (r.named or "") and r.trained and (r.error or 99) < 30]
    assert numbers(page) == expected
    assert page.locator("#front-0 .point:not(.faded)").count() == len(expected)
    page.fill("#filter", "")
    page.check("#only")
    on_front = {record.number for front in fronts_of(study) for record in front.front}
    expect(page.locator("#count")).to_have_text(f"{len(on_front)} of {len(study.records)} trials")
    assert set(numbers(page)) <= on_front
    page.uncheck("#only")
    page.select_option("#state", "infeasible")
    assert numbers(page) == [r.number for r in study.records if r.state == "infeasible"][:25]


def test_a_column_sorts_both_ways_and_next_shows_the_next_page(page: Page, study: LoadedStudy) -> None:
    head = page.locator("#table thead th", has_text="error %")

    def errors() -> list[float]:
        return [float(text) for text in page.locator("#table tbody tr td:nth-child(4)").all_inner_texts()]

    trained = [record.error for record in study.records if record.trained and record.error is not None]
    for direction, reverse in (("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", direction)
        expected = sorted(trained, reverse=reverse)
        assert errors() == pytest.approx(expected[:25], abs=0.0051)
    page.get_by_role("button", name="Next").click()
    assert errors() == pytest.approx(expected[25:50], abs=0.0051)


def test_dragging_zooms_in_and_a_double_click_zooms_out(page: Page) -> None:
    def ticks() -> list[str]:
        return page.locator("#front-0 .axes text").all_text_contents()

    box = page.locator("#front-0 svg").bounding_box()
    assert box is not None
    before = ticks()
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 260, steps=4)
    page.mouse.up()
    assert ticks() != before
    expect(page.locator("#card")).to_be_hidden()
    page.mouse.dblclick(box["x"] + 300, box["y"] + 8)
    assert ticks() == before
    page.get_by_role("button", name="Around the front").click()
    assert ticks() != before


@pytest.mark.parametrize(
    "context",
    [{"permissions": ["clipboard-read", "clipboard-write"]}, {}],
    indirect=True,
    ids=["clipboard allowed", "clipboard not allowed"],
)
def test_the_export_command_is_copied(page: Page, study: LoadedStudy) -> None:
    best = front_of(study).front[-1]
    point(page, best.number).press("Enter")
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    page.keyboard.press("Escape")
    page.locator("#filter").focus()
    page.keyboard.press("Control+V")
    expected = ["threshnet", "export", "sample", "--trial", str(best.number)]
    expected += ["--storage", "sqlite:///my runs/study.db", "-o", f"sample-trial{best.number}"]
    assert shlex.split(page.input_value("#filter")) == expected


def test_the_download_contains_the_filtered_trials(page: Page, study: LoadedStudy, tmp_path: Path) -> None:
    page.select_option("#state", "finished")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "sample.csv"
    download.value.save_as(tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as opened_file:
        rows = list(csv.DictReader(opened_file))
    finished = [record for record in study.records if record.state == "finished"]
    assert [int(row["trial"]) for row in rows] == [record.number for record in finished]
    for row, record in zip(rows, finished, strict=True):
        assert float(row["error_percent"]) == pytest.approx(record.error, rel=1e-5)
        assert float(row["cpu onnxruntime: ms"]) == pytest.approx(record.latency_ms, rel=1e-5)
        assert row["schedule"] == record.schedule


def test_no_text_in_the_download_is_a_formula(page: Page) -> None:
    row = {"number": 1, "name": "=1+1", "state": "+a", "schedule": "-a", "note": '@a,"b"', "seconds": -1.5, "params": 2}
    text = page.evaluate("row => csvOf({ data: { fronts: [] } }, [row])", row)
    (read,) = csv.DictReader(text.splitlines())
    assert {key: read[key] for key in row if key in read} == {
        "name": "'=1+1", "state": "'+a", "schedule": "'-a", "note": "'@a,\"b\"", "seconds": "-1.5", "params": "2"
    }  # fmt: skip


@pytest.mark.parametrize(
    "context", [{"viewport": PHONE, "is_mobile": True, "has_touch": True}], indirect=True, ids=["360 px"]
)
def test_on_a_phone_nothing_overflows_and_a_tap_opens_a_card(page: Page, study: LoadedStudy) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for control in page.locator("button:visible, select:visible, input[type=search]:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert box["height"] >= 24, control.inner_text()  # WCAG 2.2, success criterion 2.5.8
    best = front_of(study).front[-1]
    point(page, best.number).scroll_into_view_if_needed()
    page.touchscreen.tap(*center(point(page, best.number)))
    expect(page.locator("#card")).to_be_visible()
    assert page.inner_text("#card-title") == title(best)
    assert page.evaluate("document.getElementById('card').scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Close the card").click()
    expect(page.locator("#card")).to_be_hidden()


TEXTS = (
    "#about",
    "#caveat",
    "dt",
    "dd",
    "#legend li",
    ".caption",
    "td",
    "th button",
    "#count",
    "label",
    "button.quiet",
)
DRAWN = (".axes text", ".labels text")
RATIO = """(element) => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); // WCAG 2.2, relative luminance
    const [r, g, b] = channels(colour).slice(0, 3).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = element;
  const paper = () => getComputedStyle(behind).backgroundColor;
  while (behind.parentElement && (channels(paper())[3] ?? 1) < 1) behind = behind.parentElement;
  const style = getComputedStyle(element);
  const text = element instanceof SVGElement ? style.fill : style.color;
  const [low, high] = [light(text), light(paper())].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


@pytest.mark.parametrize(
    "context", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True, ids=["light", "dark"]
)
def test_texts_have_enough_contrast_in_both_schemes_and_the_button_toggles_them(page: Page) -> None:
    page.locator("#front-0 .point").first.press("Enter")

    def brightness() -> float:
        return float(page.evaluate(f"({RATIO})(document.body)"))

    def check() -> None:
        for selector in (*TEXTS, *DRAWN, "#card code", "#card .caption"):
            assert page.locator(selector).first.evaluate(RATIO) >= CONTRAST, selector

    check()
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.locator("#theme").evaluate("(button) => button.click()")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    check()
    assert brightness() >= CONTRAST


def test_charts_have_names_and_descriptions(page: Page) -> None:
    for chart in page.locator("svg.chart").all():
        assert chart.get_attribute("aria-label")
        description = page.locator(f"#{chart.get_attribute('aria-describedby')}")
        assert description.text_content()
    assert page.locator("#front-0 .point").first.get_attribute("aria-label")
    assert page.locator("main h2").count() == 5
    assert page.evaluate("document.querySelectorAll('[tabindex=\"0\"].point').length") == 2


def test_hostile_texts_are_shown_and_not_run(context: BrowserContext, study: LoadedStudy, tmp_path: Path) -> None:
    loaded = hostile(study)
    path = tmp_path / "hostile.html"
    write_report(loaded, fronts_of(loaded), progress_of(loaded), path, f"sqlite:///{HOSTILE.replace(' ', '')}")
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    open_page(page, path)
    assert page.text_content("#study") == HOSTILE
    assert page.text_content("#caveat") == HOSTILE
    page.locator("#table tbody tr").first.click()
    assert HOSTILE in (page.text_content("#card") or "")
    assert page.locator("img, iframe, #card script").count() == 0
    page.fill("#filter", "onerror")
    expect(page.locator("#count")).to_have_text(f"{len(study.records)} of {len(study.records)} trials")
    assert problems == []


def test_the_policy_blocks_other_scripts_and_requests(context: BrowserContext, file: Path) -> None:
    page = context.new_page()
    open_page(page, file)
    page.evaluate("""() => {
      const made = document.createElement("script");
      made.textContent = "document.body.dataset.ran = 'yes'";
      document.body.append(made);
    }""")
    assert page.evaluate("document.body.dataset.ran ?? 'not run'") == "not run"
    assert page.evaluate("fetch('https://example.org').then(() => 'fetched', () => 'refused')") == "refused"


def test_a_study_of_thousands_of_trials_opens_and_filters_fast(context: BrowserContext, tmp_path: Path) -> None:
    loaded = many(5000)
    text = report_html(loaded, fronts_of(loaded), progress_of(loaded))
    path = tmp_path / "many.html"
    path.write_text(text)
    assert len(text) < 7_000_000
    shown = json.loads(inside(text, "data"))["details"]
    front = front_of(loaded)
    assert {record.number for record in (*front.front, *(one.record for one in front.named))} <= set(shown)
    assert 100 < len(shown) < 5000

    openings, filterings = [], []
    for _ in range(3):
        page = context.new_page()
        clock = Clock(page)
        open_page(page, path)
        openings.append(clock.spent_s())
        page.evaluate("""() => {
          document.getElementById("filter").value = "error<30";
          document.getElementById("filter").dispatchEvent(new Event("input"));
          document.querySelector("#table thead th:nth-child(4) button").click();
        }""")
        filterings.append(clock.spent_s())
    assert 0.05 < statistics.median(openings) < OPENED_S, openings
    assert 0.005 < statistics.median(filterings) < FILTERED_S, filterings

    few = sum((record.error or 99) < 30 for record in loaded.records)
    expect(page.locator("#count")).to_have_text(f"{few:,} of 5,000 trials")
    left_out = next(record for record in loaded.records if record.number not in shown)
    page.fill("#filter", left_out.fingerprint or "")
    page.locator("#table tbody tr").click()
    assert re.search(r"are in this page for \d+ of 5,000 trials", page.inner_text("#card"))
