"""The lines of a launch: one per trial, and a summary at its end; its page and its dry run."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import FrozenTrial
from search_tests.tiny import StubMeasurement
from studies_tests.sample import sample_loaded, with_stopped
from studies_tests.small import small_spec

from search.data import load_search
from search.records import Record
from search.run import Outcome
from search.training.recipes import FAST
from space import Limits
from studies.cli.launch import closing, launch, plan_text
from studies.library import Study
from studies.report.page.live import LivePage, replace_text
from studies.screen import line
from studies.start.dry_run import NetworkCost, plan
from studies.start.prepare import prepare
from studies.study import LoadedStudy, launch_study, progress_of
from threshnet import InputError


def shown(record: Record, params: int = 310_000) -> str:
    """Format the line of a trial as number 12, with a latency of 0.512 ms."""
    network = next(iter(record.latency))
    latency = replace(record.latency[network], latency_ms=0.512, low_ms=0.5, high_ms=0.53)
    valued: dict[str, Any] = {"latency_ms": 0.512} if record.trained else {}
    return line(replace(record, number=12, latency={network: latency}, costs={"params": params}, **valued))


def test_the_line_of_a_stopped_trial_has_its_last_error() -> None:
    stopped = replace(with_stopped(sample_loaded(1)).records[-2], rungs={1: 60.0, 2: 41.3})
    assert shown(stopped) == "trial  12   41.30 % after 2 epochs    0.512 ms    0.31 M params  stopped"
    assert "60.00 % after 1 epoch  " in shown(replace(stopped, rungs={1: 60.0}))
    assert shown(replace(stopped, named="threshnet28")).endswith("params  threshnet28  stopped")


def test_the_line_of_a_trained_network_has_its_error_and_marks_it_if_infeasible() -> None:
    first = replace(sample_loaded(0).records[0], error=30.0, state="finished")
    assert shown(first) == "trial  12   30.00 %    0.512 ms    0.31 M params  threshnet28"
    assert shown(replace(first, state="infeasible")).endswith("threshnet28  infeasible")


@pytest.mark.parametrize(("state", "text"), [("failed", "failed: alas"), ("not trained", "not trained: alas")])
def test_the_line_of_an_untrained_network_has_the_reason(state: str, text: str) -> None:
    record = replace(sample_loaded(0).records[0], state=state, reason="alas")  # type: ignore[arg-type]
    assert line(record) == f"trial   0  {text}  threshnet28"
    assert line(replace(record, named=None)) == f"trial   0  {text}"


def test_the_line_of_a_duplicate_names_the_other_trial() -> None:
    record = replace(sample_loaded(0).records[1], state="duplicate", duplicate_of=0)
    assert line(record) == "trial   1  duplicate of trial 0  threshnet79"
    assert line(replace(record, named=None)) == "trial   1  duplicate of trial 0"


def test_the_summary_counts_networks_by_state(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = with_stopped(sample_loaded(10), stopped=4)  # one of which was resumed
    failed = replace(loaded.records[0], number=99, state="failed")
    loaded = replace(loaded, records=[*loaded.records, failed], spec=replace(loaded.spec, trials=40))
    space, done, *sentences, following = closing(Study(loaded), Outcome(17, "timeout")).splitlines()
    assert space.startswith("space ")
    so_far = "13 networks trained, 3 stopped early, 1 failed, of 40"
    assert done == f"sample: {so_far}: time limit reached; rerun the command to resume."
    assert tuple(sentences) == progress_of(loaded).sentences
    assert len(sentences) == 3
    assert following == "Next: threshnet pareto sample --html front.html"
    by_budget = replace(loaded, spec=replace(loaded.spec, budget=13.0))
    spent = closing(Study(by_budget), Outcome(17, "spent")).splitlines()[1]
    assert spent == "sample: 13 networks trained, 3 stopped early, 1 failed: its training budget is spent."
    analysis = Study(loaded, "postgresql://me:secret@host/db?sslmode=require")
    elsewhere = closing(analysis, Outcome(17, "timeout"))
    assert elsewhere.endswith("Next, with the storage in OPTUNA_STORAGE: threshnet pareto sample --html front.html")
    monkeypatch.setenv("OPTUNA_STORAGE", analysis.storage)
    assert closing(analysis, Outcome(17, "timeout")).endswith("Next: threshnet pareto sample --html front.html")


def test_the_summary_without_trained_networks_has_no_progress_and_no_next_command() -> None:
    loaded = sample_loaded(0, named=())
    text = closing(Study(loaded), Outcome(0, "interrupted"))
    assert text.splitlines()[1:] == ["sample: 0 networks trained, of 1: stopped; rerun the command to resume."]


# The page


@pytest.fixture
def launched(log: list[str], tmp_path: Path) -> LoadedStudy:
    """A study with three trained networks."""
    return launch_study(small_spec(), f"journal:{tmp_path / 'x.log'}", runs=tmp_path / "runs")[0]


def test_the_page_is_written_after_each_trial(log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.report.page.live.MAX_SHARE", 1e9)
    file, warnings = tmp_path / "new" / "front.html", list[str]()
    page = LivePage(file, "journal:x.log", tmp_path / "runs", warnings.append)
    sizes = []

    def look(study: optuna.Study, trial: FrozenTrial) -> None:
        sizes.append(file.read_text().count('"trial '))
        assert [each.name for each in file.parent.iterdir()] == ["front.html"]

    launch_study(small_spec(), f"journal:{tmp_path / 'x.log'}", runs=tmp_path / "runs", callbacks=[page, look])
    assert len(sizes) == 3
    assert warnings == []
    assert "small" in file.read_text()


def test_a_page_is_not_due_again_at_once(launched: LoadedStudy, tmp_path: Path) -> None:
    page = LivePage(tmp_path / "front.html", "journal:x.log", tmp_path / "runs", print)
    trial = launched.study.trials[-1]
    page(launched.study, trial)
    page.path.unlink()
    page(launched.study, trial)
    assert not page.path.exists()
    page.write(launched.study)
    assert page.path.exists()


def test_a_page_that_cannot_be_written_is_one_warning(launched: LoadedStudy, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    warnings: list[str] = []
    page = LivePage(tmp_path / "file" / "front.html", "journal:x.log", tmp_path / "runs", warnings.append)
    page.write(launched.study)
    page.write(launched.study)
    assert warnings == [f"warning: {tmp_path / 'file' / 'front.html'} not written: File exists"]


def test_a_page_is_replaced_where_a_link_points(tmp_path: Path) -> None:
    target, link = tmp_path / "page.html", tmp_path / "link.html"
    target.write_text("before")
    link.symlink_to(target)
    replace_text(link, "after")
    assert (target.read_text(), link.is_symlink()) == ("after", True)


# The dry run


def test_a_dry_run_measures_and_trains_but_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr("studies.start.dry_run.measure_on", StubMeasurement(log))
    spec = small_spec(trials=10, rungs=(1,), recipe=replace(FAST, epochs=4, batch=16))
    url = f"sqlite:///{tmp_path / 'x.db'}"
    prepared = prepare(spec, url)
    stages: list[str] = []
    found = plan(prepared.spec, prepared.task, load_search(spec.dataset, spec.input_size), 4, stages.append)
    assert (found.left, found.cost.rungs) == (6, (1, 4))
    assert stages == ["measuring the idle baseline", "measuring a random network", "training it for a few steps"]
    assert len(set(log)) == 2
    assert 0 < found.cost.latency_ms < 100
    assert 0 < found.cost.first_rung_s < found.cost.training_s
    assert found.least_s == pytest.approx(6 * (found.cost.reading_s + found.cost.first_rung_s))
    assert found.most_s == pytest.approx(6 * (found.cost.reading_s + found.cost.training_s))
    assert list(tmp_path.iterdir()) == []
    first, network, left = plan_text(found).splitlines()
    assert first == "space tiny: 3.2e+02 points, 2.2e+02 distinct networks"
    assert network.startswith("a random network, ")
    assert left.startswith("6 of 10 networks left: ")
    assert "(all stopped at the first rung)" in left
    assert found.to_json()["cost"]["training_s"] == found.cost.training_s


def test_a_dry_run_stays_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = NetworkCost(macs=1, latency_ms=1.0, reading_s=1.0, epoch_s=2.0, score_s=0.0, rungs=(1, 4))
    monkeypatch.setattr("studies.start.dry_run.network_cost", lambda *_: cost)
    prepared = prepare(small_spec(trials=10, budget=5.0))
    found = plan(prepared.spec, prepared.task, load_search(prepared.spec.dataset, 16), 0, print)
    assert (found.least_s, found.most_s) == (10 * 3, 10 * 1 + 5 * 8)
    prepared = prepare(small_spec(trials=10, budget=1.0))  # spent after four networks at the first rung
    found = plan(prepared.spec, prepared.task, load_search(prepared.spec.dataset, 16), 0, print)
    assert (found.least_s, found.most_s) == (4 * 3, 4 * 1 + 1 * 8)
    assert plan_text(found).splitlines()[-1].startswith("a budget of 1 full trainings, for at most 10 networks: 12 s ")


def test_a_dry_run_without_feasible_networks_says_so() -> None:
    prepared = prepare(small_spec(limits=Limits(params=1)))
    with pytest.raises(InputError, match="limits: no random network of the space satisfies the limits"):
        plan(prepared.spec, prepared.task, load_search(prepared.spec.dataset, 16), 0, print)


def test_the_summary_lists_named_networks_that_were_not_trained() -> None:
    loaded = sample_loaded(2)
    first, second, *rest = loaded.records
    records = [first, replace(second, state="not trained", error=None), *rest]
    text = closing(Study(replace(loaded, records=records)), Outcome(3, "enough"))
    assert "\nNamed networks not trained yet: ThreshNet79; " in text


def test_a_dry_run_names_the_launch_with_all_of_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.cli.launch._plan", lambda *_: None)
    monkeypatch.setattr("studies.cli.launch.plan_text", lambda _: "planned")
    options = ["--trials", "3", "--timeout", "2h", "--page", "front.html"]
    result = CliRunner().invoke(launch, ["digits", *options, "--dry-run"])
    following = "Next: threshnet launch digits --trials 3 --timeout 7200s --page front.html"
    assert result.output.splitlines()[-2:] == ["planned", following]


# The first line


def test_the_first_line_needs_no_torch() -> None:
    program = "import sys, studies.cli.launch; print([name for name in ('torch', 'optuna') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"
