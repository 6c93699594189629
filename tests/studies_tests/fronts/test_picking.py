"""Picking one network: rules, limits, neighbours and confidence."""

import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from search_tests.tiny import steady_latency
from studies_tests.sample import sample_front, sample_latency, sample_loaded, store

from benchmarks.threshbench import table as threshbench
from search.pareto import dominators
from search.records import IMAGES, Record
from studies import cli
from studies.cli.quantities import Amount, Milliseconds, Percent
from studies.fronts.front import ParetoFront
from studies.fronts.picking import (
    Noise,
    PickRequest,
    choose,
    confidence,
    exceeded,
    noise_of,
    pick,
    points_of,
    within_limits,
)
from studies.fronts.picking_text import pick_text, reason
from studies.storage import open_storage
from threshnet import InputError

BASE = sample_front(1, ())


@dataclass(frozen=True)
class Row:
    """A trained network of a made-up front."""

    latency_ms: float
    error: float
    params: int = 1000
    # Violates a constraint of the study.
    over: bool = False


def record_of(number: int, row: Row) -> Record:
    """A record of these values; its latency interval has no width."""
    return replace(
        BASE.trained[0],
        number=number,
        state="infeasible" if row.over else "finished",
        error=row.error,
        latency_ms=row.latency_ms,
        latency={"cpu onnxruntime": steady_latency(row.latency_ms)},
        costs={"params": row.params, "macs": 2 * row.params},
    )


def front_of(rows: Sequence[Row]) -> ParetoFront:
    """A front to pick from: trial i is row i."""
    return replace(BASE, trained=tuple(record_of(number, row) for number, row in enumerate(rows)))


STAIRS = [Row(3, 10), Row(1, 30, 3000), Row(2, 12, 500), Row(3, 11), Row(2.5, 12), Row(9, 9), Row(0.5, 5, over=True)]


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (PickRequest(), 2),  # far below the line from (1, 30) to (9, 9)
        (PickRequest(knee=True), 2),
        (PickRequest(latency_ms=3), 0),
        (PickRequest(latency_ms=2.99), 2),
        (PickRequest(latency_ms=1.5), 1),
        (PickRequest(error=10), 0),
        (PickRequest(error=9.5), 5),
        (PickRequest(error=90), 1),
        (PickRequest(latency_ms=9, error=10), 0),  # of the two left, the faster one
        (PickRequest(latency_ms=3, knee=True), 2),
        (PickRequest(params=999), 2),
        (PickRequest(macs=2000, latency_ms=2.6), 2),
        (PickRequest(params=1000, error=29), 2),
    ],
)
def test_picks_equal_those_worked_out_by_hand(wanted: PickRequest, number: int) -> None:
    assert pick(front_of(STAIRS), wanted, 1000).record.number == number


def test_a_limit_on_params_admits_networks_that_excluded_ones_dominated() -> None:
    rows = [Row(1, 10, 5000), Row(2, 20, 100), Row(3, 15, 100)]
    assert pick(front_of(rows), PickRequest(), 1000).record.number == 0
    small = pick(front_of(rows), PickRequest(params=100), 1000)
    assert (small.record.number, small.candidates, small.better and small.better.number) == (1, 2, 2)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            PickRequest(latency_ms=0.9),
            "the limit of 0.9 ms on latency excludes 6 of 6 (the fastest takes 1.000 ms); "
            "the nearest network is trial 1 with 1.000 ms",
        ),
        (PickRequest(error=8), "the limit of 8 % on the error excludes 6 of 6 (the most accurate has 9.00 %)"),
        (PickRequest(params=400), "the limit of 400 on params excludes 6 of 6 (the smallest has 500); "),
        (
            PickRequest(latency_ms=2, error=11),
            "the limit of 2 ms on latency excludes 4 of 6 "
            "(of those within the other limits the fastest takes 3.000 ms); "
            "the limit of 11 % on the error excludes 3 of 6 "
            "(of those within the other limits the most accurate has 12.00 %); "
            "the nearest network is trial 2 with 2.000 ms and 12.00 %",
        ),
        (
            PickRequest(latency_ms=0.1, error=1),
            "the limit of 1 % on the error excludes 6 of 6 (none satisfies the other limits)",
        ),
    ],
)
def test_if_no_network_is_left_the_error_lists_what_each_limit_excludes(wanted: PickRequest, message: str) -> None:
    with pytest.raises(InputError) as caught:
        pick(front_of(STAIRS), wanted, 1000)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_of_infeasible_networks_has_no_pick() -> None:
    with pytest.raises(InputError, match="nothing to pick, every trained network violates a constraint"):
        pick(front_of([Row(1, 1, over=True)]), PickRequest(), 1000)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        *(
            ({"latency_ms": value}, f"latency_ms = {value!r}: must be a number of milliseconds above 0")
            for value in (0, -1.0, True, "5ms", [5])
        ),
        ({"latency_ms": math.nan}, "latency_ms = nan: must be a finite number of milliseconds above 0"),
        ({"error": "8%"}, "error = '8%': must be a number of percent, at least 0"),
        ({"error": -0.1}, "error = -0.1: must be a number of percent, at least 0"),
        ({"params": 0}, "params = 0: must be a number above 0"),
        ({"macs": math.inf}, "macs = inf: must be a finite number above 0"),
        ({"knee": 1}, "knee = 1: must be true or false"),
    ],
)
def test_an_invalid_limit_is_rejected(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        PickRequest(**limits)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("images", "noise", "message"),
    [
        (0, None, "validation_images = 0: must be a whole number, at least 1"),
        (None, None, "validation_images = None: must be a whole number, at least 1"),
        (1000, -1, "training_noise = -1: must be a number of percentage points from 0 to 100"),
        (1000, math.nan, "training_noise = nan: must be a number of percentage points from 0 to 100"),
    ],
)
def test_invalid_noise_is_rejected(images: Any, noise: Any, message: str) -> None:  # noqa: ANN401 - any values
    with pytest.raises(InputError) as caught:
        pick(front_of(STAIRS), PickRequest(), images, noise)
    assert str(caught.value) == message


def test_neighbours_beyond_the_limits_are_reported() -> None:
    words = list(pick_text(pick(front_of(STAIRS), PickRequest(latency_ms=2.5), 1000)))
    assert words[2] == "Reason: the lowest error of 3 feasible networks within the limits."
    assert words[3] == "  The next faster network is trial 1: 1.000 ms less, 18.00 points more error."
    more = "  The next more accurate network is trial 0, beyond the limit of 2.5 ms: 2.00 points less, 1.000 ms more."
    assert words[4] == more
    both = list(pick_text(pick(front_of(STAIRS), PickRequest(latency_ms=2.5, error=15), 1000)))
    beyond = "trial 1, beyond the limit of 15 %"
    assert both[3] == f"  The next faster network is {beyond}: 1.000 ms less, 18.00 points more error."
    alone = list(pick_text(pick(front_of([Row(1, 1)]), PickRequest(), 1000)))
    assert alone[2] == "Reason: the only feasible network."
    assert alone[3:5] == ["  No feasible network is faster.", "  No feasible network is more accurate."]
    assert alone[5].endswith("picks it in 100.0% of 2,000 resamples of the readings.")


SMALLEST = "No feasible network within the limits on params and MACs is faster."


@pytest.mark.parametrize(
    ("wanted", "why", "faster"),
    [
        (PickRequest(), "the knee of the front of 6 feasible networks,", "The next faster network is trial 1: "),
        (
            PickRequest(params=1000),
            "the knee of the front of 5 feasible networks within the limits,",
            "The next faster network is trial 2: ",
        ),
        (PickRequest(params=999), "the only feasible network within the limits.", SMALLEST),
        (PickRequest(params=1000, latency_ms=2.2), "the only feasible network within the limits.", SMALLEST),
        (
            PickRequest(latency_ms=1.5),
            "the only feasible network within the limits.",
            "No feasible network is faster.",
        ),
    ],
)
def test_limits_that_exclude_networks_are_reported(wanted: PickRequest, why: str, faster: str) -> None:
    words = list(pick_text(pick(front_of(STAIRS), wanted, 1000)))
    assert words[2].startswith(f"Reason: {why}")
    assert words[3].startswith(f"  {faster}")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([Row(1, 10), Row(2, 20)], "the fastest and the most accurate of 2 feasible networks"),
        (
            [Row(1, 20), Row(2, 10), Row(3, 30)],
            "the faster of the two networks on the front of 3 feasible networks; a front of two has no knee",
        ),
        (
            [Row(1, 20), Row(2, 10), Row(3, 9)],
            "the knee of the front of 3 feasible networks, the point farthest below the line between that front's ends",
        ),
    ],
)
def test_only_a_front_with_a_knee_is_picked_from_for_its_knee(rows: list[Row], why: str) -> None:
    assert reason(pick(front_of(rows), PickRequest(), 1000)) == why


def test_the_mark_of_an_unreliable_latency_is_explained() -> None:
    front = front_of([Row(1, 10)])
    (record,) = front.trained
    assert " ! " not in "\n".join(pick_text(pick(front, PickRequest(), 1000)))
    marked = replace(steady_latency(1), warnings=("wide spread", "busy device"))
    front = replace(front, trained=(replace(record, latency={"cpu onnxruntime": marked}),))
    first, baseline, *others = pick_text(pick(front, PickRequest(), 1000))
    assert baseline == "  idle baseline 1.000 ms"
    assert " ms ! on cpu onnxruntime" in first
    assert others[:2] == ["  ! unreliable latency: wide spread", "  ! unreliable latency: busy device"]


def test_networks_whose_interval_contains_the_limit_are_reported() -> None:
    wide = sample_latency(2.0, np.random.default_rng(0))
    limit_ms = (wide.low_ms + wide.latency_ms) / 2  # the reading is above the limit, its interval is not
    front = front_of([Row(1, 30), Row(wide.latency_ms, 10)])
    front = replace(front, trained=(front.trained[0], replace(front.trained[1], latency={"cpu": wide})))
    picked = pick(front, PickRequest(latency_ms=limit_ms), 1000)
    assert picked.record.number == 0
    assert [one.number for one in picked.edge] == [1]
    assert picked.confidence.others[0][0].number == 1
    assert 0.1 < picked.confidence.others[0][1] < 0.5
    assert pick(front, PickRequest(latency_ms=2 * wide.high_ms), 1000).edge == ()


def test_close_errors_lower_the_confidence_and_more_images_raise_it() -> None:
    front = front_of([Row(1, 10.0), Row(2, 9.9), Row(3, 30)])
    few, many = (pick(front, PickRequest(latency_ms=5), images).confidence for images in (500, 10_000_000))
    assert 0.4 < few.share < 0.6
    assert [one.number for one, _ in few.others] == [0]
    assert many.share == 1.0
    assert many.others == ()
    assert pick(front, PickRequest(latency_ms=5), 10_000_000, training_noise=3.0).confidence.share < 0.6


def test_a_limit_within_the_noise_leaves_resamples_without_a_network() -> None:
    picked = pick(front_of([Row(1, 10.0)]), PickRequest(error=10.0), 1000)
    assert 0.4 < picked.confidence.none < 0.6
    assert picked.confidence.share + picked.confidence.none == 1.0
    assert "no network satisfies the limits" in " ".join(pick_text(picked))


def test_the_noise_of_an_error_is_binomial() -> None:
    (tenth, none) = noise_of(front_of([Row(1, 10), Row(2, 0)]).trained, 10_000, 0.0).error
    assert tenth == pytest.approx(100 * (0.1 * 0.9 / 10_000) ** 0.5, rel=0.01)
    assert none > 0  # an error of 0 is not certain


def test_training_noise_differs_too_much_between_tables_to_assume_a_value() -> None:
    """Check the claim in the docstring of picking.py."""
    spread = [
        threshbench.noise(threshbench.read(threshbench.FOLDER / f"threshbench_{name}.jsonl").entries)[0]
        for name in ("svhn", "cifar10")
    ]
    assert round(spread[0] / spread[1]) == 6


# Invariants

ROWS = st.lists(
    st.builds(Row, st.integers(1, 40).map(float), st.integers(0, 80).map(float), st.integers(1, 9)),
    min_size=1,
    max_size=12,
)
REQUESTS = st.builds(
    PickRequest,
    st.none() | st.integers(1, 40).map(float),
    st.none() | st.integers(0, 80).map(float),
    st.none(),
    st.none(),
    st.booleans(),
)


@given(ROWS, REQUESTS)
def test_the_pick_satisfies_every_limit_and_is_not_dominated(rows: list[Row], wanted: PickRequest) -> None:
    points = np.array([(row.latency_ms, row.error) for row in rows])
    chosen = choose(points, wanted)
    if chosen is None:
        assert not within_limits(points, wanted).any()
    else:
        assert within_limits(points, wanted)[chosen]
        assert dominators(points, points[chosen]).size == 0
        assert chosen == np.flatnonzero((points == points[chosen]).all(axis=1))[0]  # the first of equal points


@given(ROWS, REQUESTS, st.sampled_from([2.0**-10, 0.25, 2.0, 1024.0]), st.sampled_from([0.125, 4.0]))
def test_units_do_not_change_the_pick(rows: list[Row], wanted: PickRequest, ms: float, percent: float) -> None:
    points = np.array([(row.latency_ms, row.error) for row in rows])
    scaled = replace(
        wanted,
        latency_ms=None if wanted.latency_ms is None else wanted.latency_ms * ms,
        error=None if wanted.error is None else wanted.error * percent,
    )
    assert choose(points * (ms, percent), scaled) == choose(points, wanted)


@settings(deadline=None, max_examples=20)
@given(ROWS, REQUESTS)
def test_without_noise_the_pick_is_certain(rows: list[Row], wanted: PickRequest) -> None:
    records = front_of(rows).trained
    chosen = choose(points_of(records), wanted)
    assume(chosen is not None)
    none = np.zeros(len(rows))
    certain = confidence(records, chosen or 0, wanted, Noise(none, none, none))
    assert (certain.share, certain.others, certain.none) == (1.0, (), 0.0)


@settings(deadline=None, max_examples=20)
@given(ROWS, REQUESTS, st.integers(1, 9))
def test_a_pick_is_feasible_and_its_neighbours_are_on_either_side(
    rows: list[Row], wanted: PickRequest, params: int
) -> None:
    try:
        picked = pick(front_of(rows), replace(wanted, params=params), 500)
    except InputError:
        small = np.array([(row.latency_ms, row.error) for row in rows if row.params <= params]).reshape(-1, 2)
        assert not within_limits(small, wanted).any()
        return
    (ms, error), (faster, better) = picked.record.point, (picked.faster, picked.better)
    assert picked.record.costs["params"] <= params
    assert faster is None or (faster.point[0] < ms and faster.point[1] > error)
    assert better is None or (better.point[0] > ms and better.point[1] < error)
    for neighbour in filter(None, (faster, better)):
        within = within_limits(points_of([neighbour]), wanted)[0]
        assert (exceeded(neighbour, replace(wanted, params=params)) == []) == within
    shares = picked.confidence
    assert shares.share + shares.none + sum(share for _, share in shares.others) <= 1 + 1e-9


# Quantities


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (Milliseconds(), "5ms", 5.0),
        (Milliseconds(), "0.5 ms", 0.5),
        (Milliseconds(), "500us", 0.5),
        (Milliseconds(), "2s", 2000.0),
        (Percent(), "8", 8.0),
        (Percent(), "8.5%", 8.5),
        (Percent(), "0", 0.0),
        (Amount(), "500k", 500e3),
        (Amount(), "1M", 1e6),
        (Amount(), "2.28G", 2.28e9),
        (Amount(), "1000", 1000.0),
    ],
)
def test_quantities_are_read(kind: click.ParamType[float], typed: str, value: float) -> None:
    assert kind.convert(typed, None, None) == pytest.approx(value)


@pytest.mark.parametrize(
    ("kind", "typed"),
    [(Milliseconds(), text) for text in ("5", "0ms", "-1ms", "1e3ms", "5 min", "nanms", "", "٥ms", "9" * 400 + "s")]
    + [(Percent(), text) for text in ("101", "-1", "8 %%", "nan", "")]
    + [(Amount(), text) for text in ("0", "1m", "1MM", "M", "-1M", "inf", "1,000", "9" * 400)],
)
def test_an_invalid_quantity_is_rejected_in_one_line(kind: click.ParamType[float], typed: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(typed, None, None)
    assert f"{typed!r}: must be a" in caught.value.message
    assert "\n" not in caught.value.message


# The command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `threshnet pick` on the sample study in a folder of its own; returns its output."""
    monkeypatch.chdir(tmp_path)
    store(sample_loaded(), "a", "journal:x.log")
    capsys.readouterr()

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["threshnet", "pick", "a", "--storage", "journal:x.log", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == status
        out, err = capsys.readouterr()
        return out if status == 0 else err

    return run


def test_the_command_names_the_knee_and_how_to_export_it(run: Callable[..., str]) -> None:
    knee = sample_front().picked
    lines = run().splitlines()
    assert lines[0].startswith(f"a: trial {knee.number}, {knee.error:.2f} % validation error, ")
    assert "unknown (n = 1 each)" in run()
    assert (
        lines[-1] == f"Next: threshnet export a --trial {knee.number} -o a-trial{knee.number} --storage journal:x.log"
    )


def test_the_command_prints_the_same_as_json(run: Callable[..., str]) -> None:
    output = json.loads(run("--max-latency", "0.9ms", "--max-params", "2M", "--training-noise", "0.5", "--json"))
    assert output["rule"] == "lowest error"
    assert output["limits"] == {"latency_ms": 0.9, "error_percent": None, "params": 2e6, "macs": None}
    assert output["pick"]["latency_ms"] <= 0.9
    assert output["next_quicker"]["beyond_limits"] == []
    assert output["next_more_accurate"]["latency_ms"] > 0.9
    assert output["next_more_accurate"]["beyond_limits"] == ["--max-latency"]
    assert output["confidence"]["validation_images"] == 200
    assert output["confidence"]["training_noise_points"] == 0.5
    assert shlex.split(output["export"])[:5] == ["threshnet", "export", "a", "--trial", str(output["pick"]["trial"])]


def test_the_command_reports_errors_in_one_line(run: Callable[..., str]) -> None:
    assert "the limit of 0.001 ms on latency excludes" in run("--max-latency", "0.001ms", status=2)
    assert "must be a time above 0" in run("--max-latency", "5", status=2)
    assert "was measured on" in run("--backend", "cuda", status=2)


def test_the_command_rejects_a_study_without_a_recorded_number_of_validation_images(run: Callable[..., str]) -> None:
    study = optuna.load_study(study_name="a", storage=open_storage("journal:x.log", create=False))
    study.set_user_attr(IMAGES, {"train": 1000})
    error = run(status=2)
    assert error == "error: study 'a': its number of validation images is not recorded\n"
