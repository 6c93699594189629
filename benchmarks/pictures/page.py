"""Take screenshots of a study's page for the documentation: desktop, desktop in dark mode with a card, and phone.

python -m benchmarks.pictures.page front.html --output docs/pages/pictures
"""

import argparse
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from threshnet.errors import InputError

COLOURS = 256  # size of the palette; the page has few colours, so a small palette keeps the files small
SCALE = 1.5  # screenshot pixels per page pixel


@dataclass(frozen=True)
class Screenshot:
    """A screenshot to take."""

    name: str
    # Size of the viewport in pixels.
    width: int
    height: int
    scheme: Literal["light", "dark"]
    # Whether to open the card of the knee.
    card: bool = False


SCREENSHOTS = (
    Screenshot("page", 1280, 900, "light"),
    Screenshot("page_card_dark", 1280, 900, "dark", card=True),
    Screenshot("page_phone", 360, 900, "light"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take all screenshots and write them as PNG files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("page", type=Path, help="HTML page written by `threshnet pareto STUDY --html`")
    parser.add_argument("--output", type=Path, required=True, help="folder for the screenshots")
    args = parser.parse_args(arguments)
    for name, data in pictures(args.page):
        (args.output / f"{name}.png").write_bytes(data)
        print(f"wrote {args.output / name}.png, {len(data) / 1000:.0f} kB")  # noqa: T201


def pictures(page: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of each screenshot. Raises InputError if the page or Chromium is missing."""
    executable = chromium()
    if not page.is_file():
        raise InputError(f"{page}: no such file")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        for screenshot in SCREENSHOTS:
            yield screenshot.name, compressed(_take(browser, page, screenshot))
        browser.close()


def chromium() -> str:
    """Return the path of Chromium or Chrome. Raises InputError if neither is installed."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise InputError("no chromium or google-chrome is installed")
    return executable


def _take(browser: Browser, page: Path, screenshot: Screenshot) -> bytes:
    tab = browser.new_page(
        viewport={"width": screenshot.width, "height": screenshot.height},
        color_scheme=screenshot.scheme,
        device_scale_factor=SCALE,
        offline=True,
    )
    tab.goto(page.resolve().as_uri())
    tab.wait_for_selector("#fronts .stairs", state="attached")
    if screenshot.card:
        knee = tab.evaluate("page.data.fronts[0].knee")
        tab.locator(f'#front-0 .point[data-trial="{knee}"]').press("Enter")
        tab.mouse.move(0, 0)
    data = tab.screenshot()
    tab.close()
    return data


def compressed(png: bytes) -> bytes:
    """Reduce the colours of a PNG to a palette that preserves small details, e.g. thin lines."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # Median cut chooses colours by area and turned a thin green line blue.
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
