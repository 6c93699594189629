"""Find the phrases of tests/words.txt: `python tests/words.py [PATH ...]` prints each as FILE:LINE with plainer words.

Markdown, TOML, YAML, Makefiles and the page's HTML, CSS and scripts are searched as a whole; Python files and notebooks
by comment, docstring, string literal and the names they define.
"""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Recorded results, texts of others, and the files that list the phrases.
EXEMPT = (
    "benchmarks/results/",
    "studies/results/",
    "tests/fixtures/",
    "tests/words.txt",
    "tests/words.py",
    "tests/test_words.py",
    "LICENSE",
    "constraints.txt",
)

# String literals that must stay, by their whole value: names of stored things, old spellings that are still accepted.
STORED = frozenset(
    {
        "told",  # key in stored JSON: sentences about a study
        "said",  # key in the JSON of `check`, still written
        "--on",  # the old spelling of --device and --backend, still accepted
    }
)

# Names that must stay, in any case: fields of stored records.
STORED_NAMES = frozenset({"image_passes"})

# Files in which inline code is not searched: it names old spellings.
OLD_NAMES = ("CHANGELOG.md",)

TEXT_SUFFIXES = {".md", ".toml", ".yml", ".yaml", ".html", ".css", ".js", ".cff", ".sh"}
TEXT_NAMES = {"Makefile", "run"}
OPENINGS = re.compile(r"(What|Who|How|Which|Whether)\b")
CODE = re.compile(r"`[^`]*`")
MARKER = re.compile(r"<!--.*?-->", re.DOTALL)  # of sections that a program fills in
# The sign that opens a line of a comment; a phrase may continue across it.
LEAD = re.compile(r"^[ \t]*(//+|\*+(?!/)|/\*+|#+)?[ \t]*", re.MULTILINE)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Phrase:
    """A phrase to avoid."""

    pattern: re.Pattern[str]
    instead: str
    names_only: bool


@dataclass(frozen=True)
class Piece:
    """A piece of text of a file: prose, or a name."""

    text: str
    line: int  # of its first character
    name: bool = False
    lines: tuple[str, ...] = ()  # the source of a string literal, in which a line is looked up


@dataclass(frozen=True)
class Hit:
    """A phrase found in a file."""

    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        """Format the hit for an editor: FILE:LINE, what was found, what to say."""
        return f"{self.path}:{self.line}: {self.found!r} -> {self.instead}"


def phrases() -> list[Phrase]:
    """Read tests/words.txt."""
    found = []
    names_only = False
    for line in (ROOT / "tests/words.txt").read_text().splitlines():
        if line.startswith("["):
            names_only = line == "[names]"
        elif line and not line.startswith("#"):
            pattern, instead = line.split(" -> ", 1)
            flags = re.MULTILINE if names_only else re.IGNORECASE | re.MULTILINE
            found.append(Phrase(re.compile(pattern.replace(" ", r"\s+"), flags), instead, names_only))
    return found


PHRASES = phrases()


def tracked(paths: Iterable[str] = ()) -> list[str]:
    """List the files of the repository (below `paths`, if given) that are searched, untracked ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [file for file in sorted(set(done.stdout.split("\n"))) if _readable(file)]


def _readable(file: str) -> bool:
    path = Path(file)
    known = path.suffix in TEXT_SUFFIXES | {".py", ".ipynb"} or path.name in TEXT_NAMES
    return bool(file) and known and not file.startswith(EXEMPT) and (ROOT / file).is_file()


def hits(file: str) -> list[Hit]:
    """List the phrases in a file, named relative to the repository's root."""
    source = (ROOT / file).read_text(encoding="utf-8")
    if file in OLD_NAMES:
        source = CODE.sub(lambda found: re.sub(r"\S", " ", found[0]), source)
    if file.endswith(".py"):
        pieces: Iterable[Piece] = chain([Piece(Path(file).stem, 1, name=True)], python_pieces(source))
    elif file.endswith(".ipynb"):
        pieces = notebook_pieces(source)
    else:
        pieces = [Piece(source, 1)]
    found = [hit for piece in pieces for hit in piece_hits(file, piece)]
    return sorted(found, key=lambda hit: hit.line)


def text_hits(where: str, text: str) -> list[Hit]:
    """List the phrases in a text that is not a file, e.g. the help of a command."""
    return list(piece_hits(where, Piece(text, 1)))


def piece_hits(file: str, piece: Piece) -> Iterator[Hit]:
    """Yield the phrases in a piece of a file."""
    if piece.name and piece.text.lower() in STORED_NAMES:
        return
    if piece.name:
        words = CAMEL.sub(" ", piece.text.strip("_")).replace("_", " ")
        for phrase in PHRASES:
            found = phrase.pattern.fullmatch(piece.text) if phrase.names_only else phrase.pattern.search(words)
            if found:
                yield Hit(file, piece.line, piece.text, phrase.instead)
        return
    # Blanks of the same length keep the offsets.
    text = MARKER.sub(lambda found: re.sub(r"\S", " ", found[0]), piece.text)
    text = LEAD.sub(lambda found: " " * len(found[0]), text)
    for phrase in PHRASES:
        if not phrase.names_only:
            for found in phrase.pattern.finditer(text):
                yield Hit(file, _line(piece, found), " ".join(found[0].split()), phrase.instead)


def _line(piece: Piece, found: re.Match[str]) -> int:
    if not piece.lines:
        return piece.line + piece.text.count("\n", 0, found.start())
    start = found[0].split("\n")[0].strip()
    places = [number for number, line in enumerate(piece.lines) if start and start in line]
    return piece.line + (places[0] if places else 0)


def notebook_pieces(source: str) -> Iterator[Piece]:
    """Split the sources of a notebook into pieces; lines are approximate."""
    for cell in json.loads(source)["cells"]:
        opening = json.dumps(cell["source"][0], ensure_ascii=False) if cell["source"] else ""
        line = 1 + source[: max(source.find(opening), 0)].count("\n")
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield Piece(text, line)
        else:
            for piece in python_pieces(re.sub(r"^[%!].*$", "", text, flags=re.MULTILINE)):
                yield Piece(piece.text, line + piece.line - 1, piece.name, piece.lines)


def python_pieces(source: str) -> Iterator[Piece]:
    """Split Python source into comments, strings and the names it defines."""
    yield from _comments(source)
    yield from _strings(source)
    yield from _names(ast.parse(source))


def _comments(source: str) -> Iterator[Piece]:
    """Yield comments; consecutive comment lines are one piece."""
    block: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, alone = token.start[0], not token.line[: token.start[1]].strip()
        if block and alone and row == start + len(block):
            block.append(token.string)
            continue
        if block:
            yield Piece("\n".join(block), start)
        block, start = [token.string], row
    if block:
        yield Piece("\n".join(block), start)


def _strings(source: str) -> Iterator[Piece]:
    """Yield string literals, implicitly concatenated ones joined; an ellipsis replaces what an f-string fills in."""
    lines = source.splitlines()
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [
                str(part.value) if isinstance(part, ast.Constant) else "\N{HORIZONTAL ELLIPSIS}" for part in node.values
            ]
            text = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        else:
            continue
        if text not in STORED:
            end = node.end_lineno or node.lineno
            yield Piece(text, node.lineno, lines=tuple(lines[node.lineno - 1 : end]))


def _names(tree: ast.AST) -> Iterator[Piece]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield Piece(node.name, node.lineno, name=True)
            case ast.arg():
                yield Piece(node.arg, node.lineno, name=True)
            case ast.Name(ctx=ast.Store()):
                yield Piece(node.id, node.lineno, name=True)
            case ast.Attribute(ctx=ast.Store()):
                yield Piece(node.attr, node.lineno, name=True)


def openings(file: str) -> list[Hit]:
    """List the docstrings of a Python file that open with a question word."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return [
        Hit(file, node.body[0].lineno, f"docstring opens with {found[0]}", "say what it is or does")
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (found := OPENINGS.match(ast.get_docstring(node) or ""))
    ]


def all_hits(file: str) -> list[Hit]:
    """List the phrases in a file and the docstrings that open with a question word."""
    return hits(file) + (openings(file) if file.endswith(".py") else [])


def main(paths: list[str]) -> int:
    """Print every hit below the paths, or in the whole repository; exit status 1 if there is one."""
    found = [hit for file in tracked(paths) for hit in all_hits(file)]
    sys.stdout.writelines(f"{hit}\n" for hit in found)
    sys.stderr.write(f"{len(found)} in {len({hit.path for hit in found})} files\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
