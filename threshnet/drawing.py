"""Draw a network's connection schedule: a row of dots for each block, an arc for each kept link.

The output is plain SVG. Text is wrapped by estimated character widths that common fonts do not exceed. Attributes hold
the light colours, for viewers without style sheets; the style sheet adds dark mode and lets a page set the link colours
through the variables --threshnet-NAME, one for each threshold name.
"""

import html
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from threshnet.costs import count
from threshnet.schedules import THRESHOLD_NAMES, describe, strength
from threshnet.shapes import Row, smallest_input, walk
from threshnet.spec import BlockSpec, NetworkSpec
from threshnet.spec_file import INPUT_SIZE


@dataclass(frozen=True)
class Stroke:
    """Line style of the links of one strength; stronger links are wider and have more contrast, in greyscale too."""

    light: str
    dark: str
    # Pixels, for dots MAX_STEP apart.
    width: float


# By strength, 0 to 3: orange, bluish green, blue (dark mode: sky blue) and black (white) of Okabe and Ito's palette.
STROKES = (
    Stroke("#E69F00", "#E69F00", 1.2),
    Stroke("#009E73", "#009E73", 1.6),
    Stroke("#0072B2", "#56B4E9", 2.0),
    Stroke("#000000", "#FFFFFF", 2.8),
)
PAPER, DARK_PAPER, INK, DARK_INK = "#FFFFFF", "#0D1117", "#1F2933", "#E6EDF3"
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

PAGE_MARGIN = 24.0  # on every side, pixels
MIN_WIDTH = 520.0  # least width between the margins, for the text, pixels
MAX_STEP, MIN_STEP = 44.0, 15.0  # distance between dots, pixels
ROW_WIDTH = 720.0  # width of a row of dots, unless MIN_STEP needs more, pixels
ARC_HEIGHT, ARC_EXPONENT = 9.0, 0.85  # an arc over d steps is ARC_HEIGHT * d^ARC_EXPONENT pixels high
DOT_RADIUS = 5.0  # pixels
SAMPLE_LENGTH = 20.0  # length of a line in the legend, pixels
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 19.0, 13.0, 10.5  # font sizes, pixels
LINE_HEIGHT = 1.45  # as a multiple of the font size
CHARACTER_WIDTH = 0.62  # mean width of a character in lower-case text, as a multiple of the font size
WIDE_CHARACTER_WIDTH = 1.1  # greatest width of a character, as a multiple of the font size

UNPRINTABLE = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # not allowed in XML 1.0


def schedule_html(spec: NetworkSpec) -> str:
    """Draw the schedules at the default input size, or at the smallest input that the network accepts."""
    return schedule_svg(spec, max(INPUT_SIZE, smallest_input(spec)), f"Network {spec.fingerprint()}")


def schedule_svg(spec: NetworkSpec, input_size: int, title: str) -> str:
    """Draw the schedules of a network's blocks as an SVG document, with map sizes for an input of `input_size` pixels.

    The dots of a block are its input and its layers, from left to right. Raises InputError if the input is too small.
    """
    rows = walk(spec, input_size)
    deepest = max(block.depth for block in spec.blocks)
    step = min(MAX_STEP, max(MIN_STEP, ROW_WIDTH / deepest))
    title = UNPRINTABLE.sub("\ufffd", " ".join(title.split()))
    page = _Page(max(MIN_WIDTH, step * deepest + 2 * DOT_RADIUS))
    page.write(title, TITLE_SIZE, bold=True)
    page.write(_network_text(spec, input_size), TEXT_SIZE)
    _legend(page)
    descriptions = []
    for number, block in enumerate(spec.blocks, start=1):
        own = [row for row in rows if row.block == number]
        entry = rows[rows.index(own[0]) - 1].channels_out
        heading, facts = f"Block {number}: {describe(block.links)}", _block_text(block, own)
        descriptions.append(f"{heading}; {facts}.")
        page.y += 1.6 * TEXT_SIZE
        page.write(heading, TEXT_SIZE, bold=True)
        page.write(facts, TEXT_SIZE)
        _diagram(page, block, (entry, *_widths(own)), step)
    width, height = math.ceil(page.width + 2 * PAGE_MARGIN), math.ceil(page.y + PAGE_MARGIN)
    lines = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="threshnet-drawing" role="img" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-family="{FONT}">',
        f"<title>{html.escape(title)}</title>",
        f"<desc>{html.escape(' '.join(descriptions))}</desc>",
        _style(),
        f'<rect class="paper" width="{width}" height="{height}" fill="{PAPER}"/>',
        *page.lines,
        "</svg>",
    )
    return "\n".join(lines) + "\n"


class _Page:
    """The lines of the SVG, filled from top to bottom."""

    def __init__(self, width: float) -> None:
        # Width between the margins, and the position of the next element, pixels.
        self.width = width
        self.y = PAGE_MARGIN
        self.lines: list[str] = []

    def write(self, text: str, size: float, *, bold: bool = False) -> None:
        """Append wrapped text."""
        attributes = ' font-weight="bold"' if bold else ""
        for line in textwrap.wrap(text, int(self.width / (size * (1 + 0.1 * bold) * _character_width(text)))):
            self.text(PAGE_MARGIN, self.y + size, line, size, attributes)
            self.y += LINE_HEIGHT * size

    def text(self, x: float, y: float, text: str, size: float, attributes: str = "") -> None:
        """Add a line of text with its baseline at `y`."""
        escaped = html.escape(text)
        self.lines.append(f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"{attributes}>{escaped}</text>')


def _character_width(text: str) -> float:
    """Upper estimate of the mean character width in any line of `text`, as a multiple of the font size."""
    narrow = max(text, default="") < "\u2e80"  # the first character of the CJK blocks
    return CHARACTER_WIDTH if narrow and 3 * sum(map(str.isupper, text)) <= len(text) else WIDE_CHARACTER_WIDTH


def _network_text(spec: NetworkSpec, input_size: int) -> str:
    """One-line summary of the network."""
    facts = (
        f"{input_size}×{input_size} pixels",
        f"stem {spec.stem.widths[0]}, {spec.stem.widths[1]}",
        f"{sum(block.depth for block in spec.blocks)} layers",
        f"{sum(len(nodes) for block in spec.blocks for nodes in block.links)} links",
        f"{count(spec, input_size).params:,} parameters",
        f"{spec.classes} classes",
    )
    return _one_line(facts)


def _block_text(block: BlockSpec, own: Sequence[Row]) -> str:
    """One-line summary of a block, from its spec and its rows of the walk."""
    inside, last = f" {block.bottleneck_width}" if block.bottleneck_width else "", own[-1]
    growth = f"growth {block.growth}" + (f" × {block.multiplier:g}" if block.multiplier != 1 else "")
    size = f"{own[0].size_in}×{own[0].size_in}"
    facts = (
        f"{block.unit}{inside}",
        f"{block.depth} layer{'s' if block.depth > 1 else ''}",
        growth,
        f"→ {last.channels_out}",
        f"pool {size} → {last.size_out}×{last.size_out}" if block.pool else size,
    )
    return _one_line(facts)


def _one_line(facts: Sequence[str]) -> str:
    """Join facts into a line that wraps only between them."""
    return " · ".join(fact.replace(" ", "\xa0") for fact in facts)


def _widths(own: Sequence[Row]) -> tuple[int, ...]:
    """Channels of each layer of a block: the output channels of the layer's last row."""
    return tuple({row.layer: row.channels_out for row in own if row.layer}.values())


def _legend(page: _Page) -> None:
    """Draw the legend: one line for the links and one for the nodes."""
    number = f'<text y="{_n(0.35 * SMALL_SIZE)}" font-size="{_n(SMALL_SIZE)}">32</text>'
    strokes = [(name, _stroke_sample(name)) for name in reversed(THRESHOLD_NAMES)]
    dots = [("input", _dot(DOT_RADIUS, 0, entry=True)), ("block output", _dot(DOT_RADIUS, 0))]
    dots += [("internal", _dot(DOT_RADIUS, 0, filled=False)), ("channels", number)]
    page.y += 0.3 * TEXT_SIZE
    for samples, label_offset in ((strokes, SAMPLE_LENGTH + 6), (dots, 16.0)):
        x, middle = PAGE_MARGIN, page.y + 0.65 * TEXT_SIZE
        for name, sample in samples:
            page.lines.append(f'<g transform="translate({_n(x)} {_n(middle)})">{sample}</g>')
            page.text(x + label_offset, middle + 0.35 * TEXT_SIZE, name, TEXT_SIZE)
            x += label_offset + CHARACTER_WIDTH * TEXT_SIZE * len(name) + TEXT_SIZE
        page.y += LINE_HEIGHT * TEXT_SIZE


def _diagram(page: _Page, block: BlockSpec, widths: Sequence[int], step: float) -> None:
    """Draw a block: its dots, their widths below, and the arcs of its links above, the strongest on top."""
    longest = max(layer - node for layer, nodes in enumerate(block.links, start=1) for node in nodes)
    page.y += _rise(longest) + DOT_RADIUS + 0.8 * TEXT_SIZE
    left, base = PAGE_MARGIN + DOT_RADIUS, page.y
    for kept, name in enumerate(THRESHOLD_NAMES):
        links = [
            (node, layer)
            for layer, nodes in enumerate(block.links, start=1)
            for node in nodes
            if strength(layer, layer - node) == kept
        ]
        if links:
            arcs = "".join(_arc(left + step * node, left + step * layer, base, layer - node) for node, layer in links)
            page.lines.append(f'<g class="links {name}"{_stroke_attributes(name, step)}>{arcs}</g>')
    for node in range(block.depth + 1):
        page.lines.append(_dot(left + step * node, base, filled=node in block.outputs, entry=node == 0))
    digits = CHARACTER_WIDTH * SMALL_SIZE * len(str(max(widths)))
    for node, width in enumerate(widths):
        x = left + step * node
        if digits < step:
            page.text(x, base + DOT_RADIUS + 1.2 * SMALL_SIZE, str(width), SMALL_SIZE, ' text-anchor="middle"')
        else:  # rotated
            x, y = x + 0.35 * SMALL_SIZE, base + DOT_RADIUS + 4
            page.text(x, y, str(width), SMALL_SIZE, f' text-anchor="end" transform="rotate(-90 {_n(x)} {_n(y)})"')
    page.y = base + DOT_RADIUS + (1.5 * SMALL_SIZE if digits < step else 4 + digits)


def _arc(start: float, end: float, base: float, distance: int) -> str:
    """A link: a straight line between neighbours, otherwise half an ellipse between the tops of two dots."""
    if distance == 1:
        return f'<path d="M{_n(start + DOT_RADIUS)} {_n(base)}H{_n(end - DOT_RADIUS)}"/>'
    top, radii = _n(base - DOT_RADIUS), f"{_n((end - start) / 2)} {_n(_rise(distance))}"
    return f'<path d="M{_n(start)} {top}A{radii} 0 0 1 {_n(end)} {top}"/>'


def _rise(distance: int) -> float:
    """Height of the arc over `distance` steps, pixels."""
    return ARC_HEIGHT * distance**ARC_EXPONENT if distance > 1 else 0.0


def _dot(x: float, y: float, *, filled: bool = True, entry: bool = False) -> str:
    """A node: a square for the block's input, a circle for a layer; hollow if it is not an output of the block."""
    inner = DOT_RADIUS - 1
    style, fill = ("whole", INK) if filled else ("hollow", "none")
    attributes = f'class="node {style}" fill="{fill}" stroke="{INK}" stroke-width="2"'
    if entry:
        edge = _n(2 * inner)
        return f'<rect x="{_n(x - inner)}" y="{_n(y - inner)}" width="{edge}" height="{edge}" {attributes}/>'
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(inner)}" {attributes}/>'


def _stroke_sample(name: str) -> str:
    """A sample line for the legend."""
    return f'<line x2="{_n(SAMPLE_LENGTH)}" class="{name}"{_stroke_attributes(name)}/>'


def _stroke_attributes(name: str, step: float = MAX_STEP) -> str:
    """Attributes for the links of the strength that a threshold names; weak links get thinner if dots are close."""
    kept = THRESHOLD_NAMES.index(name)
    width = STROKES[kept].width * (step / MAX_STEP) ** (1 - kept / 3)
    return f' fill="none" stroke="{STROKES[kept].light}" stroke-width="{width:.2g}"'


def _style() -> str:
    """The style sheet: colours that a page can set, and dark mode; inside a page the background is transparent."""

    def links(colours: Sequence[str]) -> str:
        pairs = zip(THRESHOLD_NAMES, colours, strict=True)
        return "".join(
            f".threshnet-drawing .{name}{{stroke:var(--threshnet-{name},{colour})}}" for name, colour in pairs
        )

    return (
        f"<style>.threshnet-drawing:root{{color:{INK}}}.threshnet-drawing:not(:root) .paper{{fill:none}}"
        ".threshnet-drawing text,.threshnet-drawing .whole{fill:currentColor}"
        ".threshnet-drawing .whole,.threshnet-drawing .hollow{stroke:currentColor}"
        f"{links([stroke.light for stroke in STROKES])}"
        f"@media (prefers-color-scheme:dark){{.threshnet-drawing:root{{color:{DARK_INK}}}"
        f".threshnet-drawing:root .paper{{fill:{DARK_PAPER}}}{links([stroke.dark for stroke in STROKES])}}}</style>"
    )


def _n(value: float) -> str:
    """A coordinate rounded to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
