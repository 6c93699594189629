"""The record of a reading: closed forms, warnings, and strict reading of JSON."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_tests.tiny import steady_latency, stored_earlier

from search.latency.reading import Latency, Rounds, State, as_rounds, backend, reading_warnings
from search.latency.samples import RoundsMs, Samples
from threshnet.errors import InputError

QUIET = State(temperature_c=50.0, clock_mhz=1500.0, governor="performance", throttled=0, load=0.1)


def cycles(*medians: float, runs: int = 16) -> RoundsMs:
    """Rounds, one for each of the given times, of runs that all took that long."""
    return tuple((ms,) * runs for ms in medians)


def readings() -> st.SearchStrategy[Latency]:
    """Any reading, with all it can hold."""
    milliseconds = st.floats(1e-6, 1e6)
    states = st.builds(
        State,
        temperature_c=st.none() | st.floats(-50, 150),
        clock_mhz=st.none() | st.floats(1, 6000),
        governor=st.none() | st.text(),
        throttled=st.none() | st.integers(0, 2**20),
        load=st.none() | st.floats(0, 100),
    )

    def of_shape(shape: tuple[int, int]) -> st.SearchStrategy[Latency]:
        one = st.tuples(*[st.tuples(*[milliseconds] * shape[1])] * shape[0])
        return st.builds(
            steady_latency,
            st.just(1.0),
            rounds_ms=one,
            reference_rounds_ms=one,
            reference_ms=milliseconds,
            ended=st.sampled_from(["precise", "time"]),
            device=st.text(),
            threads=st.integers(1, 99),
            channels_last=st.booleans(),
            before=states,
            after=states,
            warnings=st.lists(st.text()).map(tuple),
        )

    return st.tuples(st.integers(6, 9), st.integers(1, 3)).flatmap(of_shape)


@given(readings())
def test_json_round_trip_is_exact(latency: Latency) -> None:
    assert Latency.from_json(json.loads(json.dumps(latency.to_json()))) == latency


@given(readings())
def test_the_interval_brackets_the_latency(latency: Latency) -> None:
    assert 0 < latency.low_ms <= latency.latency_ms <= latency.high_ms
    assert latency.relative_iqr >= 0


# In closed form


def test_a_latency_is_the_ratio_times_the_idle_baseline() -> None:
    latency = steady_latency(
        1.0,
        rounds_ms=cycles(6, 6, 8, 8, 10, 10),
        reference_rounds_ms=cycles(2, 2, 2, 2, 2, 2),
        reference_ms=1.6,
    )
    assert latency.ratio == pytest.approx((4.0, 3.0, 5.0))
    assert (latency.latency_ms, latency.low_ms, latency.high_ms) == pytest.approx((6.4, 4.8, 8.0))
    assert latency.slowdown == 1.25
    assert latency.runs == 6 * 16
    assert latency.relative_iqr == pytest.approx((10 - 6) / 8)  # quartiles of 32 sixes, eights and tens each


def test_a_loud_neighbour_in_two_thirds_of_the_cycles_is_not_heard() -> None:
    loud = (1.0, 3.0, 1.0, 5.0, 2.0, 3.0) * 3
    loud = (*loud[:-1], 2.0)
    spared = [ms == 1.0 for ms in loud]
    assert sum(spared) == 6
    latency = steady_latency(
        1.0, rounds_ms=cycles(*(4 * ms * ms for ms in loud)), reference_rounds_ms=cycles(*loud), reference_ms=1.0
    )
    assert latency.ratio == (4.0, 4.0, 4.0)
    assert (latency.slowdown, latency.relative_iqr) == (1.0, 0.0)


def test_spread_is_that_within_the_quiet_rounds() -> None:
    one = tuple(np.linspace(1.0, 2.0, 17).tolist())  # median 1.5, quartiles 1.25 and 1.75
    latency = steady_latency(1.0, rounds_ms=(one,) * 6, reference_rounds_ms=cycles(*[1.0] * 6, runs=17))
    assert latency.relative_iqr == pytest.approx(0.5 / 1.5)
    assert latency.ratio == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (("cpu", "onnxruntime", 1, 1, "fp32", False), "cpu onnxruntime"),
        (("cuda:1", "torch-graph", 1, 1, "fp16", True), "cuda:1 torch-graph fp16 NHWC"),
        (("cpu", "torch", 4, 1, "fp32", False), "cpu torch 4 threads"),
        (("cpu", "torch", 1, 8, "fp32", True), "cpu torch NHWC batch 8"),
        (("ssh://pi", "onnxruntime", 2, 8, "bf16", False), "ssh://pi onnxruntime bf16 2 threads batch 8"),
    ],
)
def test_a_backend_is_named_by_what_differs(setting: tuple[Any, ...], expected: str) -> None:
    assert backend(*setting) == expected
    names = ("device", "runtime", "threads", "batch", "precision", "channels_last")
    assert steady_latency(1.0, **dict(zip(names, setting, strict=True))).backend == expected


def test_a_summary_has_all_but_the_raw_samples() -> None:
    latency = steady_latency(3.0, warnings=("a",), before=QUIET)
    summary = json.loads(json.dumps(latency.summary()))
    assert summary.keys() == {field.name for field in dataclasses.fields(Latency)} - {"artifact", "samples"} | {"ratio"}
    assert (summary["latency_ms"], summary["ratio"], summary["runs"]) == (3.0, 3.0, 96)
    assert (summary["warnings"], summary["before"]["clock_mhz"]) == (["a"], 1500.0)


# Warnings


def state(**changes: Any) -> State:  # noqa: ANN401 - any field's value
    return dataclasses.replace(QUIET, **changes)


WIDE = (1.0,) * 5 + (0.5,) * 3 + (1.5,) * 3 + (1.0,) * 5  # quartiles 1 and 1; of WIDER 0.5 and 1.5
WIDER = (1.0,) * 4 + (0.5,) * 6 + (1.5,) * 6


@pytest.mark.parametrize(
    ("changes", "steady", "doubt"),
    [
        ({}, False, "not steady"),
        ({"rounds_ms": (WIDER,) * 6}, True, r"wide spread: interquartile range 100% of the median"),
        (
            {"rounds_ms": cycles(2, 2, 2, 2, 2, 2.2), "ended": "time"},
            True,
            r"wide interval: 10\.0% at the time limit, the tolerance is 2\.0%",
        ),
        (
            {"rounds_ms": cycles(2, 2, 2, 2, 2, 1.8), "ended": "time"},
            True,
            r"wide interval: 10\.0% at the time limit, the tolerance is 2\.0%",
        ),
        ({"reference_ms": 0.8}, True, r"busy device: the reference network took 1\.25 times its idle baseline"),
        ({"reference_ms": 1.25}, True, r"outdated idle baseline: .* only 0\.80 times as long; .* --calibrate"),
        ({"before": state(throttled=0x1)}, True, "throttled: bits 0x1 before, 0x0 after"),
        ({"after": state(throttled=0x4)}, True, "throttled: bits 0x0 before, 0x4 after"),
        (
            {"before": state(throttled=0x8), "after": state(throttled=0x8)},
            True,
            "throttled: bits 0x8 before, 0x8 after",
        ),
        ({"missing": 0.5}, True, r"busy device: other processes used 0\.5 of the processors that its threads need"),
        (
            {"before": state(quota_throttled=3), "after": state(quota_throttled=5)},
            True,
            r"throttled by the CPU quota of the container: in 2 period\(s\)",
        ),
        (
            {"before": state(gpu_others_percent=20.0), "after": state(gpu_others_percent=0.0)},
            True,
            "busy GPU: other processes used 20 % of its multiprocessors",
        ),
        ({"after": state(throttled=0x40000)}, True, "throttled: bits 0x0 before, 0x40000 after"),
        ({"after": state(governor="powersave")}, True, "governor changed from performance to powersave"),
        ({"after": state(clock_mhz=1400.0)}, True, "the clock fell from 1500 to 1400 MHz"),
        ({"after": state(temperature_c=61.0)}, True, "the device warmed from 50 to 61 degrees C"),
    ],
)
def test_each_reason_alone_is_one_line(changes: dict[str, Any], steady: bool, doubt: str) -> None:
    latency = steady_latency(2.0, **{"before": QUIET, "after": QUIET} | changes)
    (warning,) = reading_warnings(latency, 0.02, steady)
    assert re.search(doubt, warning)
    assert "\n" not in warning


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rounds_ms": (WIDE,) * 6},
        {"rounds_ms": cycles(2, 2, 2, 2, 2, 2.03), "ended": "precise"},
        {"rounds_ms": cycles(2, 2, 2, 2, 2, 2.08), "ended": "time"},
        {"reference_ms": 0.95},
        {"reference_ms": 1.05},
        {"before": state(throttled=0x50000), "after": state(throttled=0x50000)},  # it was so before
        {"before": state(throttled=None)},
        {"before": state(quota_throttled=5), "after": state(quota_throttled=5)},
        {"missing": 0.2},
        {"after": state(throttled=None)},
        {"after": state(clock_mhz=1430.0)},
        {"after": state(clock_mhz=1800.0)},
        {"before": state(clock_mhz=None)},
        {"after": state(clock_mhz=None)},
        {"after": state(temperature_c=59.0)},
        {"after": state(temperature_c=20.0)},
        {"before": state(temperature_c=None)},
        {"after": state(load=9.0)},
        {"before": State(), "after": State()},
        {"after": state(gpu_others_percent=4.0)},
    ],
)
def test_a_clean_reading_is_not_doubted(changes: dict[str, Any]) -> None:
    latency = steady_latency(2.0, **{"before": QUIET, "after": QUIET} | changes)
    assert list(reading_warnings(latency, 0.02, True)) == []


def test_several_reasons_are_several_lines() -> None:
    latency = steady_latency(2.0, reference_ms=0.5, before=QUIET, after=state(governor=None, clock_mhz=10.0))
    assert len(list(reading_warnings(latency, 0.02, False))) == 4


# What a probe sends, and what is read back


def test_a_probes_answer_is_read(recwarn: pytest.WarningsRecorder) -> None:
    document = {
        "rounds_ms": [[[1.0, 2.0]] * 6, [[3.0, 4]] * 6],
        "cpu_ms": None,
        "switches": 0,
        "others": 0.5,
        "ended": "time",
        "steady": False,
        "before": dataclasses.asdict(QUIET),
        "after": dataclasses.asdict(State()),
    }
    expected = Rounds((((1.0, 2.0),) * 6, ((3.0, 4.0),) * 6), None, 0, 0.5, "time", False, QUIET, State())
    assert as_rounds(document, "probe", 2, 2, 6) == expected
    with pytest.raises(InputError, match="probe: rounds of 2 networks, must be of 1"):
        as_rounds(document, "probe", 1, 2, 6)
    with pytest.raises(InputError, match="probe: 6 cycles of 2 runs, must be 6 or more cycles of 16"):
        as_rounds(document, "probe", 2, 16, 6)
    with pytest.raises(InputError, match="probe: 5 cycles of 2 runs, must be 6 or more cycles of 2"):
        as_rounds(document | {"rounds_ms": [[[1.0, 2.0]] * 5] * 2}, "probe", 2, 2, 6)
    with pytest.raises(InputError, match=r"probe: key 'before\.clock_mhz' is missing"):
        as_rounds(document | {"before": {"temperature_c": 1.0, "throttled": 1, "load": 1.0}}, "probe", 2, 2, 6)
    assert not recwarn


BAD_ROUNDS: list[tuple[Any, str]] = [
    ([[1.0, 0.0]] * 6, "positive finite milliseconds"),
    ([[1.0, -1.0]] * 6, "positive finite milliseconds"),
    ([[1.0, 2.0]] * 5 + [[1.0]], "the same number of rounds and runs"),
    ([[1.0, 2.0]] * 5, "the same number of rounds and runs"),  # one less than the other network has
    ([], "the same number of rounds and runs"),
    ([[]] * 6, "the same number of rounds and runs"),
    ([[1.0, float("nan")]] * 6, r"\[0\]\[1\] = nan: must be a finite number"),
    ([[1.0, float("inf")]] * 6, r"\[0\]\[1\] = inf: must be a finite number"),
    ([[1.0, None]] * 6, r"\[0\]\[1\] = None: must be a number"),
    ([[1.0, True]] * 6, r"\[0\]\[1\] = True: must be a number"),
    ([[1.0, "2"]] * 6, r"\[0\]\[1\] = '2': must be a number"),
    ([[1.0, [2.0]]] * 6, r"\[0\]\[1\] = \[2\.0\]: must be a number"),
    ([1.0] * 6, r"\[0\] = 1\.0: must be "),
    ("123456", "= '123456': must be "),
]


@given(readings())
def test_a_reading_that_an_earlier_version_stored_is_read_with_its_samples(latency: Latency) -> None:
    read = Latency.from_json(stored_earlier(latency))
    assert read == latency
    assert read.samples == latency.samples


@pytest.mark.parametrize(("bad", "reason"), BAD_ROUNDS)
@pytest.mark.parametrize("key", ["rounds_ms", "reference_rounds_ms"])
def test_what_are_no_times_is_no_reading(bad: list[list[Any]], reason: str, key: str) -> None:
    fine = steady_latency(1.0, rounds_ms=((1.0, 2.0),) * 6, reference_rounds_ms=((1.0, 2.0),) * 6)
    with pytest.raises(InputError, match=f"^trial 3: .*{reason}"):
        Latency.from_json(stored_earlier(fine) | {key: bad}, "trial 3")


def test_samples_of_one_network_only_are_refused() -> None:
    document = stored_earlier(steady_latency(1.0))
    del document["reference_rounds_ms"]
    with pytest.raises(InputError, match="trial 3: key 'reference_rounds_ms' is missing"):
        Latency.from_json(document, "trial 3")


@given(readings())
def test_samples_survive_their_csv_file(latency: Latency) -> None:
    assert latency.samples is not None
    assert Samples.from_csv(latency.samples.to_csv(), "samples.csv") == latency.samples
    rounds = latency.samples.rounds_ms
    with_cpu = dataclasses.replace(latency.samples, cpu_ms=rounds, reference_cpu_ms=rounds)
    assert Samples.from_csv(with_cpu.to_csv(), "samples.csv") == with_cpu


def test_runs_that_lost_the_processor_count_with_their_cpu_time() -> None:
    wall = ((2.0, 2.0, 7.0, 2.0),) * 6
    cpu = ((1.99, 2.0, 2.1, 2.0),) * 6
    samples = Samples(wall, ((1.0,) * 4,) * 6, cpu, ((1.0,) * 4,) * 6)
    statistics = samples.statistics(1.0)
    assert (statistics["latency_ms"], statistics["lost"], statistics["runs"]) == (2.0, 6, 24)
    assert samples.counted_ms[0].tolist() == [2.0, 2.0, 2.1, 2.0]
    assert Samples(wall, ((1.0,) * 4,) * 6).statistics(1.0)["lost"] == 0
    with pytest.raises(InputError, match="the same number of rounds and runs"):
        Samples(wall, ((1.0,) * 4,) * 6, cpu[:5], cpu[:5])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: "", "the columns are "),
        (lambda text: text.replace("reference_ms", "reference"), "the columns are round, run, ms, reference"),
        (lambda text: text.partition("\n")[0], "the same number of rounds and runs"),
        (lambda text: text + "7,1,1.0,1.0\n", "the same number of rounds and runs"),
        (lambda text: text + "7,1,1.0\n", "a row has not one value for each column"),
        (lambda text: text.replace("1,1,1.0", "1,1,-1.0"), "positive finite"),
        (lambda text: text.replace("1,1,1.0", "1,1,fast"), "could not convert string to float: 'fast'"),
    ],
)
def test_a_csv_file_of_something_else_is_refused(change: Callable[[str], str], reason: str) -> None:
    samples = steady_latency(1.0).samples
    assert samples is not None
    with pytest.raises(InputError, match=rf"^weights/x: no latency samples \(.*{reason}"):
        Samples.from_csv(change(samples.to_csv()), "weights/x")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"latency_ms": -1.0}, "latency_ms = -1.0: must be a number above 0"),
        ({"low_ms": float("nan")}, "low_ms = nan: must be a number above 0"),
        ({"low_ms": 1.5}, "latency_ms = 1.0: must be in the interval from 1.5 to 1.0"),
        ({"high_ms": 0.5}, "latency_ms = 1.0: must be in the interval from 1.0 to 0.5"),
    ],
)
def test_the_interval_contains_the_latency(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        dataclasses.replace(steady_latency(1.0), **change)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_reference_takes_some_time(bad: float) -> None:
    with pytest.raises(InputError, match=f"reference_ms = {bad!r}: must be a number above 0"):
        steady_latency(1.0, reference_ms=bad)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"surprise": 1}, "unknown key 'surprise'; allowed are latency_ms, "),
        ({"b": 1, "a": 1}, "unknown key 'b'; allowed are latency_ms, "),
        ({"threads": "1"}, "threads = '1': must be a whole number"),
        ({"threads": True}, "threads = True: must be a whole number"),
        ({"batch": 1.0}, "batch = 1.0: must be a whole number"),
        ({"reference_ms": "1"}, "reference_ms = '1': must be a number"),
        ({"reference_ms": False}, "reference_ms = False: must be a number"),
        ({"channels_last": 0}, "channels_last = 0: must be true or false"),
        ({"ended": "late"}, "ended = 'late': must be one of precise, time"),
        ({"ended": ["time"]}, "ended = ['time']: must be one of precise, time"),
        ({"device": None}, "device = None: must be text"),
        ({"warnings": "busy"}, "warnings = 'busy': must be "),
        ({"warnings": [1]}, "warnings[0] = 1: must be text"),
        ({"before": None}, "before = None: must be a table of keys"),
        ({"before": {}}, "key 'before.temperature_c' is missing"),
        ({"after": dataclasses.asdict(State(load=1.0)) | {"load": "1"}}, "after.load = '1': must be a number"),
        ({"after": dataclasses.asdict(State()) | {"throttled": 1.0}}, "after.throttled = 1.0: must be a whole number"),
    ],
)
def test_json_is_read_strictly(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=f"^trial 3: {re.escape(named)}"):
        Latency.from_json(steady_latency(1.0).to_json() | change, "trial 3")


LATER = {"lost", "switches", "priority", "disturbed", "baseline", "rescaled", "missing"}  # missing in earlier versions


def test_keys_of_this_version_may_be_missing() -> None:
    latency = steady_latency(1.0)
    document = {key: value for key, value in latency.to_json().items() if key not in LATER}
    assert Latency.from_json(document, "trial 3") == latency


@pytest.mark.parametrize("key", sorted(steady_latency(1.0).summary().keys() - {"ratio"} - LATER))
def test_a_missing_key_is_named(key: str) -> None:
    document = steady_latency(1.0).to_json()
    del document[key]
    with pytest.raises(InputError, match=f"trial 3: key '{key}' is missing"):
        Latency.from_json(document, "trial 3")


@pytest.mark.parametrize("document", [[], None, "reading", 1.5])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(InputError, match="must be a table of keys"):
        Latency.from_json(document, "trial 3")
