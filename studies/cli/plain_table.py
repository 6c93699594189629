"""Tables that fit the terminal: names and numbers are never cut."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table

SPACING = 2  # characters per column for its border and its padding
SHORTEST = 12  # characters into which a word of a folding column may be broken


class PlainTable(Table):
    """A table of texts in the style of all commands.

    If it is wider than the terminal, its cells wrap between words. If it is still too wide, the `optional` columns are
    left out, the first one first, and the caption names them. Then the words of columns with `overflow="fold"`, e.g.
    long names of studies, continue on the next line.
    """

    def __init__(self, title: str, optional: Sequence[str] = ()) -> None:
        super().__init__(
            title=title,
            title_justify="left",
            title_style="bold",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        self.optional = optional

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table within the width of the console."""
        columns, omitted = list(self.columns), list[str]()
        for name in self.optional:
            if _total(map(_longest_word, columns)) > options.max_width:
                columns = [column for column in columns if column.header != name]
                omitted.append(name)
        fitted = copy(self)
        widths = _widths(columns, options.max_width)
        fitted.columns = [
            replace(column, width=width, _index=index)
            for index, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        if omitted:
            note = f"not shown, as the terminal is narrow: {', '.join(omitted)}"
            fitted.caption = "\n".join(filter(None, [str(self.caption or ""), note]))
        yield from Table.__rich_console__(fitted, console, options)


def _total(widths: Iterable[int]) -> int:
    """The width of a table with columns of these widths."""
    return sum(width + SPACING for width in widths)


def _widths(columns: Sequence[Column], most: int) -> list[int]:
    """Widths of the columns in a table of at most `most` characters; the longest texts become narrower first."""
    widths, least = list(map(_longest_line, columns)), list(map(_longest_word, columns))
    if _total(least) > most:
        least = [
            min(SHORTEST, word) if one.overflow == "fold" else word for one, word in zip(columns, least, strict=True)
        ]
    while _total(widths) > most:
        spare = [width - word for width, word in zip(widths, least, strict=True)]
        if not any(spare):
            break
        widths[spare.index(max(spare))] -= 1
    return widths


def _longest_line(column: Column) -> int:
    return max(cell_len(line) for text in _texts(column) for line in text.splitlines() or [""])


def _longest_word(column: Column) -> int:
    return max(cell_len(word) for text in _texts(column) for word in text.split() or [""])


def _texts(column: Column) -> list[str]:
    return [str(column.header), *map(str, column.cells)]
