"""The project speaks plainly: no phrase of tests/words.txt, short summaries, docstrings that state something."""

from collections.abc import Iterator

import click
import pytest
import words

from studies.cli import cli

LONGEST_SUMMARY = 60  # characters; `threshnet --help` cuts a longer one


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and those below it, each with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        for inner, below in command.commands.items():
            yield from commands(below, f"{name} {inner}")


COMMANDS = dict(commands(cli, "threshnet"))


@pytest.mark.parametrize("folder", sorted({file.partition("/")[0] for file in words.tracked()}))
def test_no_phrase_to_avoid(folder: str) -> None:
    assert [str(hit) for file in words.tracked([folder]) for hit in words.all_hits(file)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_plain_and_its_summary_short(name: str) -> None:
    command = COMMANDS[name]
    records = [option.get_help_record(click.Context(command)) for option in command.params]
    text = "\n".join([command.help or "", *(record[1] for record in records if record)])
    assert [str(hit) for hit in words.text_hits(name, text)] == []
    summary = text.strip().splitlines()[0]
    assert name == "threshnet" or len(summary) <= LONGEST_SUMMARY, summary


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Train it.\n\nLaunching again goes on."""', ["Launching again", "goes on"]),
        ("# a network is gone\n# on with later", ["gone on"]),
        ('x = f"{1} is {2} by how" f" much"', ["by how much"]),
        ("class Course:\n    def goes_on(self, story: int) -> None: ...", ["Course", "goes_on", "story"]),
        ("of_course = a_course_of_action = 1", []),
        ('KEY = "told"', []),
    ],
)
def test_python_is_read_by_comment_string_and_name(source: str, found: list[str]) -> None:
    hits = [hit for piece in words.python_pieces(source) for hit in words.piece_hits("x.py", piece)]
    assert sorted(hit.found for hit in hits) == sorted(found)


def test_a_phrase_is_found_across_lines_and_at_its_line() -> None:
    (hit,) = words.piece_hits("x.js", words.Piece("let x;\n/** The network that is turned\n * away. */", 1))
    assert (hit.line, hit.found) == (2, "turned away")
    assert list(words.piece_hits("x.md", words.Piece("<!-- BESIDE -->\nfigures\n<!-- /BESIDE -->", 1))) == []
