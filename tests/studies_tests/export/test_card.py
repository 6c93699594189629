"""A card shows arbitrary names as plain text, whatever markup they contain."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from search_tests.tiny import SIZE, steady_latency
from studies_tests.small import TREE_NETWORK, write_tree

from search.data import DataSettings, class_names
from studies.export.card import ExportResult, ModelInfo, card, escaped
from threshnet.export.folder import Exported

EMPTY = ExportResult(Exported(Path(), {}, 0.0))
ODD = [
    "a|b",
    "<img src=x onerror=alert(1)>",
    "`tick",
    "two\nlines | and more",
    "*_x_*",
    "back\\slash\\|",
    "&lt;",
    "[a](b)",
    "1. a list",
]


class Cells(HTMLParser):
    """The text of every table row of a rendered page, cell by cell, and the set of its HTML tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(page))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def shown(text: str) -> str:
    """Collapse white space, as a rendered page does."""
    return " ".join(text.split())


@pytest.mark.parametrize("odd", ODD)
def test_class_folders_of_any_name_stay_in_their_cell(odd: str, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", train=1, test=1)
    name = odd.replace("/", "-")
    for part in ("train", "test"):
        (tree / part / "dark").rename(tree / part / name)
    classes = class_names(DataSettings("folder", tree))
    assert name in classes
    info = ModelInfo(title="Mine", origin="A test", input_size=SIZE, classes=classes)
    plain = Cells(card(TREE_NETWORK, ModelInfo(title="Mine", origin="A test", input_size=SIZE), EMPTY))
    cells = Cells(card(TREE_NETWORK, info, EMPTY))
    assert [len(row) for row in cells.rows] == [len(row) for row in plain.rows]
    assert cells.tags == plain.tags
    (output,) = [row[1] for row in cells.rows if row[0].strip() == "output"]
    assert output.strip() == f"logits (n, 2): {', '.join(map(shown, classes))}"


@pytest.mark.parametrize("odd", ODD)
def test_no_other_text_breaks_the_card(odd: str) -> None:
    reading = steady_latency(1.0)
    plain, strange = (
        Cells(
            card(
                TREE_NETWORK,
                ModelInfo(title=text, origin=text, input_size=SIZE, trained_on=text, caveat=text, latency=(reading,)),
                ExportResult(Exported(Path(), {}, 0.0, int8_agreement=99.0), calibrated_on=text),
            )
        )
        for text in ("words", odd)
    )
    assert [len(row) for row in strange.rows] == [len(row) for row in plain.rows]
    assert strange.tags == plain.tags


@given(st.text(max_size=30))
def test_escaped_text_is_rendered_unchanged(text: str) -> None:
    visible = shown("".join(char if char.isprintable() else " " for char in text))
    rows = Cells(f"| a | b |\n|---|---|\n| {escaped(text)} | {escaped(text)} |\n").rows
    assert [shown(cell) for cell in rows[1]] == [visible, visible]


def test_a_card_without_int8_states_the_reason() -> None:
    result = ExportResult(Exported(Path(), {}, 0.0, int8_refused="correlation 0.100"), calibrated_on="12 images")
    page = card(TREE_NETWORK, ModelInfo(title="Mine", origin="A test", input_size=SIZE), result)
    assert "| int8 | no file: 8 bits do not represent this network; correlation 0.100 |" in page
    assert "12 images" not in page
    assert "in 8-bit integers" not in page


def test_plain_names_are_not_escaped() -> None:
    assert escaped("deer_mouse (grey), 2nd") == "deer_mouse (grey), 2nd"
