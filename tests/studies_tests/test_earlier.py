"""The key `prior`: earlier studies and CSV files that a study learns from."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from search_tests.tiny import LARGEST, SMALLEST
from studies_tests.small import small_spec

from studies.report.results import trials_table
from studies.start import earlier
from studies.start.earlier import earlier_networks
from studies.start.prepare import prepare
from studies.study import launch_study
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec


def written(file: Path, *lines: tuple[str, ...]) -> Path:
    """Write a CSV file of quoted cells."""
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(lines)
    return file


def text_of(network: NetworkSpec) -> str:
    """A network as a cell."""
    return json.dumps(network.to_json())


def test_a_study_knows_the_networks_of_another(tmp_path: Path, log: list[str]) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    first, _ = launch_study(small_spec(), url, runs=tmp_path)
    spec = small_spec(name="second", sampler="freeze_thaw", prior=("small",))
    task = prepare(spec, url).task
    trained = [record for record in first.records if record.trained]
    assert {each.network.fingerprint() for each in task.earlier} == {record.fingerprint for record in trained}
    by_name = {record.fingerprint: record for record in trained}
    for each in task.earlier:
        record = by_name[each.network.fingerprint()]
        assert each.outcome.errors[1.0] == record.error
        assert each.outcome.latency_ms == record.latency_ms
    loaded, _ = launch_study(spec, url, runs=tmp_path)
    assert loaded.spec.prior == ("small",)
    again, _ = launch_study(replace(spec, trials=4), url, runs=tmp_path)
    assert again.trained == 4


def test_the_table_of_trials_can_be_earlier_work(tmp_path: Path, log: list[str]) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    first, _ = launch_study(small_spec(), url, runs=tmp_path)
    file = tmp_path / "trials.csv"
    trials_table(first).to_csv(file, index=False)
    of_file = earlier_networks([str(file)], url)
    of_study = earlier_networks(["small"], url)
    assert {each.network.fingerprint() for each in of_file} == {each.network.fingerprint() for each in of_study}
    assert sorted(each.outcome.errors[1.0] for each in of_file) == pytest.approx(
        sorted(each.outcome.errors[1.0] for each in of_study)
    )


def test_errors_at_rungs_are_keyed_by_the_share_of_the_training(tmp_path: Path) -> None:
    header = ("network", "error_percent", "latency_ms", "rungs")
    file = written(
        tmp_path / "a.csv",
        header,
        (text_of(SMALLEST), "20", "1.5", '{"2": 40, "8": 20}'),
        (text_of(LARGEST), "", "", '{"2": 35}'),
        ("", "", "", ""),
    )
    first, second = earlier_networks([str(file)], "sqlite://")
    assert (first.outcome.latency_ms, dict(first.outcome.errors)) == (1.5, {0.25: 40.0, 1.0: 20.0})
    assert (second.outcome.latency_ms, dict(second.outcome.errors)) == (None, {0.25: 35.0})


def test_sources_are_numbered_and_large_ones_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "MAX_NETWORKS", 2)
    lines = [(text_of(replace(SMALLEST, classes=classes)), "20") for classes in range(2, 7)]
    files = [written(tmp_path / name, ("network", "error_percent"), *lines) for name in ("a.csv", "b.csv")]
    found = earlier_networks(list(map(str, files)), "sqlite://")
    assert [each.outcome.source for each in found] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([("error_percent",)], "has no column 'network'"),
        ([("network", "error_percent")], "has no network with an error or a latency"),
        ([("network", "error_percent"), ("{}", "20")], "line 2, column 'network'"),
        ([("network", "error_percent"), ("[", "20")], "line 2, column 'network'"),
        ([("network", "error_percent"), ("NETWORK", "many")], "line 2, column 'error_percent': 'many' is not a number"),
        ([("network", "error_percent", "rungs"), ("NETWORK", "1", "[1]")], "line 2, column 'rungs'"),
        (
            [("network", "error_percent", "latency_ms"), ("NETWORK", "1", "-1")],
            "column 'latency_ms': -1 is not above 0",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, lines: list[tuple[str, ...]], words: str) -> None:
    given = [tuple(cell.replace("NETWORK", text_of(SMALLEST)) for cell in line) for line in lines]
    file = written(tmp_path / "bad.csv", *given)
    with pytest.raises(InputError) as caught:
        earlier_networks([str(file)], "sqlite://")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"prior = {str(file)!r}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_source_is_one_line_and_creates_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=url, study_name="foreign")
    for name, words in (("absent", "no study is named"), ("foreign", "was not made by"), ("a.csv", "No such file")):
        with pytest.raises(InputError, match=words):
            launch_study(small_spec(name="second", sampler="freeze_thaw", prior=(name,)), url, runs=tmp_path)
    assert optuna.get_all_study_names(url) == ["foreign"]


def test_only_the_default_sampler_learns_from_earlier_work() -> None:
    with pytest.raises(InputError, match="the sampler random does not learn from it"):
        small_spec(prior=("other",))


def test_the_error_at_the_end_counts_if_there_are_no_rungs(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ("network", "error_percent"), (text_of(SMALLEST), "12.5"))
    (only,) = earlier_networks([str(file)], "sqlite://")
    assert dict(only.outcome.errors) == {1.0: 12.5}
