"""Idle baselines are measured once, recorded with their conditions, and replaced by better ones."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from search.latency.baseline import Baseline, recorded_baseline
from search.latency.measure import better
from search.latency.reference import state_folder
from threshnet.errors import InputError
from threshnet.strict import plain

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record, in a folder of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "threshnet" / "baselines.json"


def of(ms: float) -> Baseline:
    return Baseline(ms, 0.9 * ms, 1.1 * ms, "pi", "2026-11-28 01:36", 0.125, 40.0)


def busy(ms: float) -> Baseline:
    return replace(of(ms), disturbed=True)


def never() -> Baseline:
    raise AssertionError("it was measured again")


def always(earlier: Baseline, new: Baseline) -> bool:
    return True


def idle_latency(conditions: str, take: Callable[[], float], host: str = "pi", *, renew: bool = False) -> float:
    return recorded_baseline(conditions, host, lambda: of(take()), always if renew else None).ms


def test_a_latency_is_taken_once() -> None:
    assert idle_latency("cpu", lambda: 1.25) == 1.25
    assert idle_latency("cpu", lambda: never().ms) == 1.25


def test_a_renewal_measures_the_baseline_again() -> None:
    idle_latency("cpu", lambda: 1.25)
    assert idle_latency("cpu", lambda: 1.5, renew=True) == 1.5
    assert idle_latency("cpu", lambda: never().ms) == 1.5


def test_each_condition_has_its_own() -> None:
    taken = [idle_latency(f"batch {batch}", lambda batch=batch: float(batch)) for batch in (1, 2, 3)]  # type: ignore[misc]
    assert taken == [1.0, 2.0, 3.0]
    idle_latency("batch 2", lambda: 9.0, renew=True)
    assert [idle_latency(f"batch {batch}", lambda: never().ms) for batch in (1, 2, 3)] == [1.0, 9.0, 3.0]


def test_a_latency_that_could_not_be_taken_is_not_recorded(file: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        idle_latency("cpu", lambda: 1 / 0)
    assert not file.exists()
    assert idle_latency("cpu", lambda: 1.0) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1.0]",
        '{"cpu": {"ms": 1.0}}',
        '{"cpu": "fast"}',
        '{"cpu": null}',
        '{"cpu": 1}',
        '{"cpu": -1.0}',
        '{"cpu": 0.0}',
        "\xff",
    ],
)
def test_a_damaged_record_is_one_line_and_stays(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")
    for renew in (False, True):
        with pytest.raises(InputError) as caught:
            idle_latency("gpu", lambda: 1.0, renew=renew)
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
    assert json.loads(file.read_text()) == {"cpu, host pi": plain(of(1.25))}
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local/state/threshnet"


def test_writers_at_the_same_time_lose_nothing(file: Path) -> None:
    program = (
        "import sys\n"
        "from search.latency.baseline import Baseline, recorded_baseline\n"
        "sys.stdin.read()\n"  # until all are ready
        "for number in range(1, 11):\n"
        "    recorded_baseline(f'{sys.argv[1]} {number}', 'pi', lambda: Baseline(*[float(number)] * 3))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, name], cwd=ROOT, stdin=subprocess.PIPE) for name in "abc"
    ]
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    found = {key: value["ms"] for key, value in json.loads(file.read_text()).items()}
    assert found == {f"{name} {number}, host pi": float(number) for name in "abc" for number in range(1, 11)}


def test_another_process_that_took_it_meanwhile_is_not_forgotten(file: Path) -> None:
    def take() -> float:
        idle_latency("gpu", lambda: 2.0)
        return 1.0

    idle_latency("cpu", take)
    assert json.loads(file.read_text()) == {"cpu, host pi": plain(of(1.0)), "gpu, host pi": plain(of(2.0))}


def test_who_comes_second_takes_the_record_of_who_came_first() -> None:
    def overtaken() -> float:
        idle_latency("contested", lambda: 2.0)
        return 3.0

    assert idle_latency("contested", overtaken) == 2.0


def test_hosts_with_one_home_folder_have_their_own() -> None:
    assert idle_latency("cpu", lambda: 1.25, "a") == 1.25
    assert idle_latency("cpu", lambda: 2.5, "b") == 2.5
    assert idle_latency("cpu", lambda: never().ms, "a") == 1.25


def test_the_record_of_an_earlier_version_is_used(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.with_name("references.json").write_text('{"cpu": 1.25}')
    assert recorded_baseline("cpu", "pi", never) == Baseline(1.25, 1.25, 1.25)
    assert idle_latency("cpu", lambda: 1.5, renew=True) == 1.5
    assert idle_latency("cpu", lambda: never().ms) == 1.5


@pytest.mark.parametrize(
    ("earlier", "new", "replaced"),
    [
        (of(2.0), of(1.8), True),
        (of(2.0), of(1.95), False),  # not 5 % lower
        (of(2.0), of(3.0), False),
        (of(2.0), busy(1.0), False),
        (busy(2.0), of(3.0), True),
        (busy(2.0), busy(1.9), True),
        (busy(2.0), busy(3.0), False),
    ],
)
def test_a_better_baseline_replaces_an_earlier_one(
    earlier: Baseline, new: Baseline, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.latency.measure.OUTDATED", 0.95)
    assert recorded_baseline("cpu", "pi", lambda: earlier) == earlier
    found = new if replaced else earlier
    assert recorded_baseline("cpu", "pi", lambda: new, better) == found
    assert recorded_baseline("cpu", "pi", never) == found


def test_a_baseline_states_its_conditions() -> None:
    assert of(1.25).text == "1.250 ms, 2026-11-28 01:36 UTC, load 0.1, 40 degrees C"
    assert replace(of(1.25), disturbed=True).text.endswith(", device busy")
    assert Baseline(1.25, 1.2, 1.3).text == "1.250 ms"
    assert len({of(1.0).id, of(2.0).id, replace(of(1.0), host="b").id}) == 3


@pytest.mark.parametrize("values", [(1.0, 1.1, 1.2), (1.0, 0.8, 0.9), (0.0, 0.0, 0.0), (float("nan"), 1.0, 2.0)])
def test_a_baseline_lies_in_its_interval(values: tuple[float, float, float]) -> None:
    with pytest.raises(InputError):
        Baseline(*values)
