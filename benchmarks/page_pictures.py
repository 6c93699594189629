"""Pictures of a study's page for the documentation: on a desk, there in the dark with a card open, and on a phone.

python -m benchmarks.page_pictures front.html --output docs/pages/pictures
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

COLOURS = 256  # of a picture's palette: a page has few, and a picture must stay small
SCALE = 1.5  # pixels of a picture for each of the page


@dataclass(frozen=True)
class Shot:
    """A picture to take."""

    name: str
    # Pixels of the page.
    width: int
    height: int
    scheme: Literal["light", "dark"]
    # Whether the knee's card is open.
    card: bool = False


SHOTS = (
    Shot("page", 1280, 900, "light"),
    Shot("page_card_dark", 1280, 900, "dark", card=True),
    Shot("page_phone", 360, 900, "light"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="what `threshnet pareto STUDY --html` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    given = parser.parse_args(arguments)
    for name, data in pictures(given.page):
        (given.output / f"{name}.png").write_bytes(data)
        print(f"wrote {given.output / name}.png, {len(data) / 1000:.0f} kB")  # noqa: T201


def pictures(page: Path) -> Iterator[tuple[str, bytes]]:
    """Each picture's name and its PNG; InputError where there is no page or no Chromium."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise InputError("no chromium or google-chrome is installed")
    if not page.is_file():
        raise InputError(f"{page}: no such file")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        for shot in SHOTS:
            yield shot.name, small(_taken(browser, page, shot))
        browser.close()


def _taken(browser: Browser, page: Path, shot: Shot) -> bytes:
    opened = browser.new_page(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        device_scale_factor=SCALE,
        offline=True,
    )
    opened.goto(page.resolve().as_uri())
    opened.wait_for_selector("#fronts .stairs", state="attached")
    if shot.card:
        knee = opened.evaluate("page.data.fronts[0].knee")
        opened.locator(f'#front-0 .point[data-trial="{knee}"]').press("Enter")
        opened.mouse.move(0, 0)
    data = opened.screenshot()
    opened.close()
    return data


def small(png: bytes) -> bytes:
    """The same picture in a palette that has the colours of small things too, such as an arc's."""
    into = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # Not the median cut, which shares colours out by area: a green line of few pixels came out blue.
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(into, "PNG", optimize=True)
    return into.getvalue()


if __name__ == "__main__":
    main()
