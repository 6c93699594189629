"""The drawing of a schedule: it is complete, nothing is clipped, and no title breaks it."""

import itertools
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright
from threshnet_tests.strategies import networks

from threshnet import NAMED, NetworkSpec
from threshnet.drawing import DARK_PAPER, PAPER, STROKES, schedule_svg
from threshnet.errors import InputError
from threshnet.schedules import THRESHOLD_NAMES, schedule, strength
from threshnet.spec import BlockSpec, StemSpec

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = r"-?\d+(?:\.\d+)?"


def parsed(text: str) -> ElementTree.Element:
    """The root element of a drawing, which must be well-formed XML."""
    return ElementTree.fromstring(text.encode())


def of_strength(root: ElementTree.Element, name: str) -> list[str]:
    """The paths of the links drawn in the style of a threshold."""
    return [path.get("d", "") for path in root.iterfind(f".//{SVG}g[@class='links {name}']/{SVG}path")]


def extremes(root: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """The outermost points of links and dots, and the anchors of texts, except inside the legend's samples."""
    for path in root.iter(f"{SVG}path"):
        numbers = [float(number) for number in re.findall(NUMBER, path.get("d", ""))]
        if len(numbers) == 3:  # M x y H x
            x, y, end = numbers
            yield from ((x, y), (end, y))
        else:  # M x y A rx ry rotation large sweep x y
            x, y, _, rise, _, _, _, end, foot = numbers
            yield from ((x, y - rise), (end, foot))
    for group in root.iterfind(f"{SVG}g[@transform]"):
        x, y = (float(number) for number in re.findall(NUMBER, group.get("transform", "")))
        yield x, y
    for dot in root.iterfind(f"{SVG}circle"):
        x, y, r = (float(dot.get(key, "")) for key in ("cx", "cy", "r"))
        yield from ((x - r, y - r), (x + r, y + r))
    for text in root.iterfind(f"{SVG}text"):
        yield float(text.get("x", "")), float(text.get("y", ""))


@settings(max_examples=60, deadline=None)
@given(networks(max_depth=24))
def test_every_link_is_an_arc_and_every_node_a_dot(spec: NetworkSpec) -> None:
    root = parsed(schedule_svg(spec, 224, "any"))
    links = Counter(
        strength(layer, layer - node)
        for block in spec.blocks
        for layer, nodes in enumerate(block.links, start=1)
        for node in nodes
    )
    drawn = [len(of_strength(root, name)) for name in THRESHOLD_NAMES]
    assert drawn == [links[kept] for kept in range(4)]
    dots = Counter(dot.get("class") for tag in ("circle", "rect") for dot in root.iterfind(f"{SVG}{tag}"))
    whole = sum(len(block.outputs) for block in spec.blocks)
    assert dots["node whole"] == whole
    assert dots["node hollow"] == sum(block.depth + 1 for block in spec.blocks) - whole


@settings(max_examples=60, deadline=None)
@given(networks(max_depth=24), st.text(max_size=200))
def test_nothing_is_clipped_for_any_title(spec: NetworkSpec, title: str) -> None:
    text = schedule_svg(spec, 224, title)
    root = parsed(text)
    left, top, width, height = map(float, root.get("viewBox", "").split())
    assert (left, top, f"{width:g}", f"{height:g}") == (0, 0, root.get("width"), root.get("height"))
    for x, y in extremes(root):
        assert 0 < x < width
        assert 0 < y < height
    assert schedule_svg(spec, 224, title) == text


def test_the_2080_arcs_of_the_deepest_dense_block_are_distinct() -> None:
    block = BlockSpec(links=schedule((0,) * 64), growth=1000, transition=16)
    root = parsed(schedule_svg(NetworkSpec((block,)), 32, "deep"))
    arcs = [path for name in THRESHOLD_NAMES for path in of_strength(root, name)]
    assert len(set(arcs)) == len(arcs) == 2080
    dots = sorted(float(dot.get("cx", "")) for dot in root.iterfind(f"{SVG}circle"))
    radius = float(next(root.iterfind(f"{SVG}circle")).get("r", ""))
    assert min(b - a for a, b in itertools.pairwise(dots)) > 2 * radius + 2


def test_hostile_titles_stay_text() -> None:
    root = parsed(schedule_svg(NAMED["threshnet28"], 32, "</title><script>alert('1')</script>\x00\ud800 & \"so\" on"))
    assert root.find(f"{SVG}title").text == "</title><script>alert('1')</script>\ufffd\ufffd & \"so\" on"  # type: ignore[union-attr]
    assert not [tag for tag in root.iter() if tag.tag.endswith("script")]


def test_each_block_is_labelled() -> None:
    root = parsed(schedule_svg(NAMED["threshnet79"], 32, "ThreshNet79"))
    texts = [(text.text or "").replace("\xa0", " ") for text in root.iter(f"{SVG}text")]
    assert texts[0] == "ThreshNet79"
    assert "Block 3: dense" in texts
    assert "bottleneck 128 · 12 layers · growth 32 · → 288 · 2×2" in texts
    assert "conv · 16 layers · growth 40 × 1.7 · → 480 · pool 2×2 → 1×1" in texts
    at = texts.index("Block 5: harmonic")
    assert texts[at + 2 :] == ["480", "160", "272", "160", "462"]  # channels of its input and of its four layers
    description = root.find(f"{SVG}desc").text or ""  # type: ignore[union-attr]
    assert description.count("Block ") == 5
    assert root.get("role") == "img"


def test_strokes_differ_in_greyscale_and_dark_mode() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))  # WCAG 2.2

    light = [luminance(stroke.light) for stroke in STROKES]
    assert light == sorted(light, reverse=True)
    for paper, colours in ((1.0, light), (0.005, [luminance(stroke.dark) for stroke in STROKES])):
        contrast = [(max(paper, each) + 0.05) / (min(paper, each) + 0.05) for each in colours]
        assert min(contrast) > 2
    widths = [stroke.width for stroke in STROKES]
    assert all(wider >= 1.25 * thinner for thinner, wider in itertools.pairwise(widths))


def test_an_input_that_is_too_small_is_an_error() -> None:
    block = BlockSpec(links=((0,),), growth=8, transition=8, pool=True)
    with pytest.raises(InputError, match="too small"):
        schedule_svg(NetworkSpec((block,), StemSpec(stride=1, pool=False)), 1, "small")


@pytest.mark.services
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_text_overlaps_another_or_an_edge_in_a_browser(scheme: Literal["light", "dark"], tmp_path: Path) -> None:
    deep = BlockSpec(links=schedule((0, 1, 2, 3) * 16), growth=1000, transition=1000, multiplier=1.1)
    mixed = NetworkSpec((deep, *NAMED["threshnet28"].blocks))
    drawings = [
        schedule_svg(spec, 224, title) for spec, title in ((mixed, "M" * 200), (NAMED["hardnet85"], "HarDNet85"))
    ]
    overlaps = """() => {
        const [page, ...texts] = [document.documentElement, ...document.querySelectorAll("text")]
            .map(each => each.getBoundingClientRect());
        const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        const outside = texts.filter(box => box.left < 0 || box.right > page.width || box.bottom > page.height);
        return outside.length + texts.filter((a, i) => texts.slice(i + 1).some(b => meet(a, b))).length;
    }"""
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme)
        for drawing in drawings:
            (tmp_path / "drawn.svg").write_text(drawing, encoding="utf-8")
            page.goto((tmp_path / "drawn.svg").as_uri())
            assert page.evaluate(overlaps) == 0
            paper = page.evaluate("() => getComputedStyle(document.querySelector('.paper')).fill")
            red, green, blue = (int(part) for part in re.findall(r"\d+", paper))
            assert f"#{red:02X}{green:02X}{blue:02X}" == (PAPER if scheme == "light" else DARK_PAPER)
        browser.close()
