"""The reference network and its idle baseline, which is measured once and recorded under its conditions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from search.latency.reference import REFERENCE, idle_latency, state_folder
from threshnet.costs import count
from threshnet.errors import InputError
from threshnet.network import build

ROOT = Path(__file__).resolve().parents[3]
# Written down by hand: a ratio to another network cannot be compared with those that are recorded and published.
FINGERPRINT = "e2c77e6cf609e607"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record, in a folder of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "threshnet" / "references.json"


def never() -> float:
    raise AssertionError("it was measured again")


def test_the_reference_is_the_one_it_always_was() -> None:
    assert REFERENCE.fingerprint() == FINGERPRINT
    costs = count(REFERENCE, 32)
    assert (costs.params, costs.macs) == (233_102, 59_124_672)


@pytest.mark.parametrize("size", [8, 32, 224])
def test_the_reference_runs_at_every_size(size: int) -> None:
    with torch.inference_mode():
        answer = build(REFERENCE).eval()(torch.zeros(2, 3, size, size))
    assert answer.shape == (2, REFERENCE.classes)


def test_a_latency_is_taken_once() -> None:
    assert idle_latency("cpu", lambda: 1.25) == 1.25
    assert idle_latency("cpu", never) == 1.25


def test_recalibrate_measures_the_baseline_again() -> None:
    idle_latency("cpu", lambda: 1.25)
    assert idle_latency("cpu", lambda: 1.5, recalibrate=True) == 1.5
    assert idle_latency("cpu", never) == 1.5


def test_each_condition_has_its_own() -> None:
    taken = [idle_latency(f"batch {batch}", lambda batch=batch: float(batch)) for batch in (1, 2, 3)]  # type: ignore[misc]
    assert taken == [1.0, 2.0, 3.0]
    idle_latency("batch 2", lambda: 9.0, recalibrate=True)
    assert [idle_latency(f"batch {batch}", never) for batch in (1, 2, 3)] == [1.0, 9.0, 3.0]


def test_a_latency_that_could_not_be_taken_is_not_recorded(file: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        idle_latency("cpu", lambda: 1 / 0)
    assert not file.exists()
    assert idle_latency("cpu", lambda: 1.0) == 1.0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1.0]", '{"cpu": "fast"}', '{"cpu": null}', '{"cpu": 1}', '{"cpu": -1.0}', '{"cpu": 0.0}', "\xff"],
)
def test_a_damaged_record_is_one_line_and_stays(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")
    for recalibrate in (False, True):
        with pytest.raises(InputError) as caught:
            idle_latency("gpu", lambda: 1.0, recalibrate=recalibrate)
        assert str(caught.value) == f"{file}: not a record of reference latencies; delete it to have them re-measured"
    assert file.read_text(encoding="latin-1") == text


@pytest.mark.parametrize("value", ["Infinity", "NaN"])
def test_a_recorded_latency_is_a_number(file: Path, value: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"cpu": {value}}}')
    with pytest.raises(InputError, match="not a record of reference latencies"):
        idle_latency("cpu", lambda: 1.0)


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "taken"))
    with pytest.raises(InputError, match=r"taken.*: cannot be used \(") as caught:
        idle_latency("cpu", lambda: 1.0)
    assert "\n" not in str(caught.value)


def test_the_record_is_where_the_user_keeps_such_things(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle_latency("cpu", lambda: 1.25)
    assert json.loads(file.read_text()) == {"cpu": 1.25}
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local/state/threshnet"


def test_writers_at_the_same_time_lose_nothing(file: Path) -> None:
    program = (
        "import sys\n"
        "from search.latency.reference import idle_latency\n"
        "sys.stdin.read()\n"  # until all are ready
        "for number in range(10): idle_latency(f'{sys.argv[1]} {number}', lambda: float(number + 1))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, name], cwd=ROOT, stdin=subprocess.PIPE) for name in "abc"
    ]
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    expected = {f"{name} {number}": float(number + 1) for name in "abc" for number in range(10)}
    assert json.loads(file.read_text()) == expected


def test_another_process_that_took_it_meanwhile_is_not_forgotten(file: Path) -> None:
    def take() -> float:
        idle_latency("gpu", lambda: 2.0)
        return 1.0

    idle_latency("cpu", take)
    assert json.loads(file.read_text()) == {"cpu": 1.0, "gpu": 2.0}


def test_who_comes_second_takes_the_record_of_who_came_first() -> None:
    def overtaken() -> float:
        idle_latency("contested", lambda: 2.0)
        return 3.0

    assert idle_latency("contested", overtaken) == 2.0
