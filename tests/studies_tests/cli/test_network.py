"""The command that draws the schedule of a network."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from studies.cli.network import draw
from threshnet import NAMED
from threshnet.drawing import schedule_svg
from threshnet.errors import InputError


def test_the_command_writes_the_drawing_of_the_network(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "drawn.svg"
    spec = tmp_path / "mine.json"
    spec.write_text(json.dumps({"title": "Mine", "input_size": 64, "spec": NAMED["threshnet28"].to_json()}))
    result = CliRunner().invoke(draw, [str(spec), "-o", str(file)])
    assert (result.exit_code, result.exception) == (0, None)
    assert file.read_text(encoding="utf-8") == schedule_svg(NAMED["threshnet28"], 64, "Mine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("threshnet28", "-o", "drawn.pdf"), "--output drawn.pdf: must end in .svg"),
        (("threshnet30", "-o", "drawn.svg"), "no network is named 'threshnet30'"),
        (("threshnet28", "-o", "drawn.svg", "--input", "3"), "input size 3 is too small"),
        (("threshnet28", "-o", "taken/drawn.svg"), "cannot be written"),
    ],
)
def test_bad_arguments_raise_an_input_error(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    result = CliRunner().invoke(draw, arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
