"""A network's connection schedule as a picture: a row of dots for each block, an arc for each kept link.

The picture is SVG written by hand, and nothing in it is measured: texts are wrapped by a width that no usual font
exceeds. Attributes carry the light colours, for programs that know no style sheets; the style sheet lets a page set
them (--threshnet-chain and so on, by the names of the thresholds) and follows a reader who prefers dark.
"""

import html
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from threshnet.costs import count
from threshnet.schedules import THRESHOLD_NAMES, describe, strength
from threshnet.shapes import Row, walk
from threshnet.spec import BlockSpec, NetworkSpec


@dataclass(frozen=True)
class Stroke:
    """How links of one strength are drawn: the stronger, the wider and, in grey, the further from the paper."""

    light: str
    dark: str
    # Pixels, where dots are STEP apart.
    width: float


# By strength, 0 to 3: Okabe and Ito's orange, bluish green, blue (sky blue on dark paper) and black (white).
STROKES = (
    Stroke("#E69F00", "#E69F00", 1.2),
    Stroke("#009E73", "#009E73", 1.6),
    Stroke("#0072B2", "#56B4E9", 2.0),
    Stroke("#000000", "#FFFFFF", 2.8),
)
PAPER, DARK_PAPER, INK, DARK_INK = "#FFFFFF", "#0D1117", "#1F2933", "#E6EDF3"
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

MARGIN = 24.0  # pixels, on every side
NARROWEST = 520.0  # pixels between the margins, so that texts have room
# Pixels between dots: at most, at least, and from the first to the last where a block is deep.
STEP, CLOSEST, ROOM = 44.0, 15.0, 720.0
RISE, BEND = 9.0, 0.85  # an arc over d steps rises RISE * d^BEND pixels
RADIUS = 5.0  # of a dot, pixels
LINE = 20.0  # length of a stroke in the legend, pixels
TITLE, WORDS, SMALL = 19.0, 13.0, 10.5  # sizes of type, pixels
LEADING = 1.45  # sizes from line to line
PLAIN, WIDE = 0.62, 1.1  # width of a character, a share of the size: on average in plain words, and at most

UNPRINTABLE = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no place for these


def schedule_svg(spec: NetworkSpec, input_size: int, title: str) -> str:
    """The schedules of a network's blocks as an SVG document, the map sizes as on an image of `input_size` pixels.

    The dots of a block are, from left to right, its input and its layers. InputError where a pool would leave no pixel.
    """
    rows = walk(spec, input_size)
    deepest = max(block.depth for block in spec.blocks)
    step = min(STEP, max(CLOSEST, ROOM / deepest))
    title = UNPRINTABLE.sub("\ufffd", " ".join(title.split()))
    page = _Page(room=max(NARROWEST, step * deepest + 2 * RADIUS))
    page.write(title, TITLE, bold=True)
    page.write(_about(spec, input_size), WORDS)
    _legend(page)
    told = []
    for number, block in enumerate(spec.blocks, start=1):
        own = [row for row in rows if row.block == number]
        entry = rows[rows.index(own[0]) - 1].channels_out
        heading, facts = f"Block {number}: {describe(block.links)}", _facts(block, own)
        told.append(f"{heading}; {facts}.")
        page.y += 1.6 * WORDS
        page.write(heading, WORDS, bold=True)
        page.write(facts, WORDS)
        _diagram(page, block, (entry, *_widths(own)), step)
    width, height = math.ceil(page.room + 2 * MARGIN), math.ceil(page.y + MARGIN)
    lines = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="threshnet-drawing" role="img" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-family="{FONT}">',
        f"<title>{html.escape(title)}</title>",
        f"<desc>{html.escape(' '.join(told))}</desc>",
        _style(),
        f'<rect class="paper" width="{width}" height="{height}" fill="{PAPER}"/>',
        *page.lines,
        "</svg>",
    )
    return "\n".join(lines) + "\n"


class _Page:
    """The picture so far, filled from top to bottom."""

    def __init__(self, room: float) -> None:
        # Pixels between the margins; where the next thing begins.
        self.room = room
        self.y = MARGIN
        self.lines: list[str] = []

    def write(self, text: str, size: float, *, bold: bool = False) -> None:
        """Text in as many lines as it takes."""
        look = ' font-weight="bold"' if bold else ""
        for line in textwrap.wrap(text, int(self.room / (size * (1 + 0.1 * bold) * _character(text)))):
            self.text(MARGIN, self.y + size, line, size, look)
            self.y += LEADING * size

    def text(self, x: float, y: float, text: str, size: float, look: str = "") -> None:
        """A line of text that stands on `y`; `look` is more attributes."""
        escaped = html.escape(text)
        self.lines.append(f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"{look}>{escaped}</text>')


def _character(text: str) -> float:
    """Width of a text's characters, a share of the size of type, such that no line of it is wider than reckoned."""
    narrow = max(text, default="") < "\u2e80"  # where the scripts of East Asia begin
    return PLAIN if narrow and 3 * sum(map(str.isupper, text)) <= len(text) else WIDE


def _about(spec: NetworkSpec, input_size: int) -> str:
    """The network in a line."""
    facts = (
        f"{input_size}×{input_size} pixels",
        f"stem {spec.stem.widths[0]}, {spec.stem.widths[1]}",
        f"{sum(block.depth for block in spec.blocks)} layers",
        f"{sum(len(nodes) for block in spec.blocks for nodes in block.links)} links",
        f"{count(spec, input_size).params:,} parameters",
        f"{spec.classes} classes",
    )
    return _joined(facts)


def _facts(block: BlockSpec, own: Sequence[Row]) -> str:
    """A block in a line, from its spec and its rows of the walk."""
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
    return _joined(facts)


def _joined(facts: Sequence[str]) -> str:
    """Facts in a line that breaks only between them."""
    return " · ".join(fact.replace(" ", "\xa0") for fact in facts)


def _widths(own: Sequence[Row]) -> tuple[int, ...]:
    """Channels that each layer of a block adds, from the block's rows: those of the last row of each layer."""
    return tuple({row.layer: row.channels_out for row in own if row.layer}.values())


def _legend(page: _Page) -> None:
    """What strokes, dots and numbers mean: a line about links and one about nodes."""
    number = f'<text y="{_n(0.35 * SMALL)}" font-size="{_n(SMALL)}">32</text>'
    dots = [("input", _dot(RADIUS, 0, entry=True)), ("handed on", _dot(RADIUS, 0))]
    dots += [("kept inside", _dot(RADIUS, 0, filled=False)), ("channels", number)]
    page.y += 0.3 * WORDS
    for signs, beside in (([(name, _line(name)) for name in reversed(THRESHOLD_NAMES)], LINE + 6), (dots, 16.0)):
        x, middle = MARGIN, page.y + 0.65 * WORDS
        for name, sign in signs:
            page.lines.append(f'<g transform="translate({_n(x)} {_n(middle)})">{sign}</g>')
            page.text(x + beside, middle + 0.35 * WORDS, name, WORDS)
            x += beside + PLAIN * WORDS * len(name) + WORDS
        page.y += LEADING * WORDS


def _diagram(page: _Page, block: BlockSpec, widths: Sequence[int], step: float) -> None:
    """The dots of a block, their widths below them, and the arcs of its links above them, the strongest on top."""
    longest = max(layer - node for layer, nodes in enumerate(block.links, start=1) for node in nodes)
    page.y += _rise(longest) + RADIUS + 0.8 * WORDS
    left, base = MARGIN + RADIUS, page.y
    for kept, name in enumerate(THRESHOLD_NAMES):
        links = [
            (node, layer)
            for layer, nodes in enumerate(block.links, start=1)
            for node in nodes
            if strength(layer, layer - node) == kept
        ]
        if links:
            arcs = "".join(_arc(left + step * node, left + step * layer, base, layer - node) for node, layer in links)
            page.lines.append(f'<g class="links {name}"{_stroked(name, step)}>{arcs}</g>')
    for node in range(block.depth + 1):
        page.lines.append(_dot(left + step * node, base, filled=node in block.outputs, entry=node == 0))
    digits = PLAIN * SMALL * len(str(max(widths)))
    for node, width in enumerate(widths):
        x = left + step * node
        if digits < step:
            page.text(x, base + RADIUS + 1.2 * SMALL, str(width), SMALL, ' text-anchor="middle"')
        else:  # upright
            x, y = x + 0.35 * SMALL, base + RADIUS + 4
            page.text(x, y, str(width), SMALL, f' text-anchor="end" transform="rotate(-90 {_n(x)} {_n(y)})"')
    page.y = base + RADIUS + (1.5 * SMALL if digits < step else 4 + digits)


def _arc(start: float, end: float, base: float, distance: int) -> str:
    """A link: a straight line between neighbours, else half an ellipse from the top of a dot to that of another."""
    if distance == 1:
        return f'<path d="M{_n(start + RADIUS)} {_n(base)}H{_n(end - RADIUS)}"/>'
    top, radii = _n(base - RADIUS), f"{_n((end - start) / 2)} {_n(_rise(distance))}"
    return f'<path d="M{_n(start)} {top}A{radii} 0 0 1 {_n(end)} {top}"/>'


def _rise(distance: int) -> float:
    """Pixels by which the arc over so many steps rises."""
    return RISE * distance**BEND if distance > 1 else 0.0


def _dot(x: float, y: float, *, filled: bool = True, entry: bool = False) -> str:
    """A node: a block's input is a square, a layer a circle; hollow where the block does not hand it on."""
    inner = RADIUS - 1
    kind, fill = ("whole", INK) if filled else ("hollow", "none")
    look = f'class="node {kind}" fill="{fill}" stroke="{INK}" stroke-width="2"'
    if entry:
        edge = _n(2 * inner)
        return f'<rect x="{_n(x - inner)}" y="{_n(y - inner)}" width="{edge}" height="{edge}" {look}/>'
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(inner)}" {look}/>'


def _line(name: str) -> str:
    """A sample of a stroke."""
    return f'<line x2="{_n(LINE)}" class="{name}"{_stroked(name)}/>'


def _stroked(name: str, step: float = STEP) -> str:
    """How the links that a threshold adds are drawn, as attributes; where dots are close, weak links are thinner."""
    kept = THRESHOLD_NAMES.index(name)
    width = STROKES[kept].width * (step / STEP) ** (1 - kept / 3)
    return f' fill="none" stroke="{STROKES[kept].light}" stroke-width="{width:.2g}"'


def _style() -> str:
    """The style sheet: colours that a page may set, and those for dark paper; the paper is left out within a page."""

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
    """A coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
