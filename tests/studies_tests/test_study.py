"""Launching, resuming, loading, listing and copying studies, and the errors for invalid ones."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta
from search_tests.tiny import LARGEST, SMALLEST, SPACE, dark_and_bright
from studies_tests.small import name_networks, small_spec, write_tree

import studies.library
from search import records
from search.data import DataSettings, ImageData, SearchData, as_settings, load_search
from search.datasets import memory
from search.datasets.named import DATASETS
from search.named import named_networks
from search.objective import NoDisplay
from search.records import Record
from search.run import Outcome
from search.training.recipes import FAST
from search.volume import box_in
from space import DEFAULT, Limits
from studies.environment import PACKAGES
from studies.export.images import images_of_study
from studies.fronts.front import front_of
from studies.listing import copy_study, list_studies
from studies.spec import StudySpec
from studies.storage import open_storage
from studies.study import launch_study, load_study, study_box
from threshnet import NAMED, InputError
from threshnet.baselines import LibraryModel
from threshnet.checkpoint import load_weights
from threshnet.drawing import schedule_svg
from threshnet.spec import NetworkSpec

Launch = Callable[..., tuple[Any, Outcome]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"journal:{tmp_path / 'studies.log'}"  # faster than SQLite


@pytest.fixture
def start(log: list[str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Launch with stubs for measuring and training, and with two named networks, `smallest` and `largest`."""
    name_networks(monkeypatch, {"smallest": SMALLEST, "largest": LARGEST})

    def start(spec: StudySpec | str, storage: str = url, **options: Any) -> tuple[Any, Outcome]:  # noqa: ANN401
        return launch_study(spec, storage, runs=tmp_path / "runs", **options)

    return start


class Recorder(NoDisplay):
    """A display that records ended trials and counts of trials."""

    def __init__(self) -> None:
        self.ended: list[Record] = []
        self.trials: list[int] = []

    def counted(self, trials: int) -> None:
        self.trials.append(trials)

    def finished(self, record: Record) -> None:
        self.ended.append(record)


def error_of(call: Callable[[], object]) -> str:
    """Return the one-line error of a call."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_classes(network: NetworkSpec) -> NetworkSpec:
    """Give a named network the ten classes of the digits."""
    return replace(network, classes=10)


# Launching


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('named = ["threshnet29"]', "named = 'threshnet29': no network is named"),
        ('data = {name = "folder", path = "gone"}', "data path gone: no such folder"),
        ('data = {name = "digits", train = 2000}', "data.train + data.validation = 2000 + 287: must be at most"),
        ('training = {device = "cuda:99"}', "training.device = 'cuda:99': torch sees "),
    ],
)
def test_an_error_after_reading_the_study_file_begins_with_the_file(
    text: str, message: str, tmp_path: Path, url: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "mine"\n{text}\n')
    assert error_of(lambda: launch_study(file, url)).startswith(f"{file}: {message}")


def test_an_error_about_images_that_were_given_does_not_name_the_study_file(tmp_path: Path, url: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n')
    (tmp_path / "empty").mkdir()
    error = error_of(lambda: launch_study(file, url, data=tmp_path / "empty"))
    assert error.startswith(f"data path {tmp_path / 'empty'}: has no folder train/")


def test_named_networks_are_measured_first_with_the_classes_of_the_data(start: Launch, log: list[str]) -> None:
    display = Recorder()
    loaded, outcome = start(small_spec(), display=display)
    assert outcome == Outcome(3, "enough")
    assert [record.named for record in loaded.records] == ["smallest", "largest", None, None, "smallest"]
    assert [record.network for record in loaded.records[:2]] == [with_classes(SMALLEST), with_classes(LARGEST)]
    assert [(each.number, each.state) for each in display.ended] == [(r.number, r.state) for r in loaded.records]
    assert display.trials == [0, 0, 0, 1, 2, 3]
    assert [entry.split()[0] for entry in log] == ["measure"] * 2 + ["measure", "train"] * 2 + ["train"]


def test_load_returns_the_launched_study(start: Launch, url: str, tmp_path: Path) -> None:
    launched, _ = start(small_spec(caveat="A test"))
    loaded = load_study("small", url, runs=tmp_path / "runs")
    assert loaded.records == launched.records
    assert loaded.spec == launched.spec
    assert loaded.classes == tuple("0123456789")
    assert loaded.spec.space.classes == 10
    assert loaded.spec.caveat == "A test"
    (conditions,) = loaded.environments
    assert set(conditions["versions"]) == {*PACKAGES, "threshnet-nas"}
    assert all(conditions["versions"].values())
    assert loaded.study.metric_names == ["error (%)", "latency (ms)"]
    assert [direction.name for direction in loaded.study.directions] == ["MINIMIZE"] * 2


def test_the_weights_and_the_drawing_of_every_trained_network_are_stored(start: Launch) -> None:
    loaded, _ = start(small_spec())
    for record, trial in zip(loaded.records, loaded.study.trials, strict=True):
        if not record.trained:
            continue
        assert load_weights(loaded.weights / record.weights).spec == record.network
        artifacts = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=loaded.study._storage)}
        samples = {"latency-cpu-onnxruntime.csv"} if record.continues is None else set()
        assert artifacts.keys() == {"model.safetensors", "schedule.svg"} | samples
        assert artifacts["model.safetensors"].artifact_id == record.weights
        assert artifacts["schedule.svg"].mimetype == "image/svg+xml"
        title = f"Trial {trial.number} of small" + (f": {record.named}" if record.named else "")
        picture = (loaded.weights / artifacts["schedule.svg"].artifact_id).read_text(encoding="utf-8")
        assert picture == schedule_svg(record.network, loaded.spec.input_size, title)
    again = {value["artifact"] for key, value in loaded.study.user_attrs.items() if key.startswith(records.REMEASURED)}
    assert again  # the final pass stores the samples of each network once
    assert len(list(loaded.weights.iterdir())) == 10 + len(again)  # samples of named networks: with their measurements


def test_the_caveat_is_that_of_the_data_set_unless_the_spec_has_one(start: Launch) -> None:
    assert "smoke test" in start(small_spec())[0].spec.caveat
    assert start(small_spec(name="other", caveat="Mine"))[0].spec.caveat == "Mine"


def test_classes_are_named_after_the_folders_of_images(start: Launch, tree: Path) -> None:
    loaded, _ = start(small_spec(tree))
    assert loaded.classes == ("bright", "dark")
    assert {record.network.classes for record in loaded.records} == {2}
    assert loaded.spec.dataset.path == tree


def test_launch_accepts_a_file_and_a_name(start: Launch, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\ntrials = 1\ninput_size = 32\n[data]\ntrain = 20\nvalidation = 10\n')
    assert start(str(file), trials=1)[0].spec.name == start(file, trials=1)[0].spec.name == "mine"
    assert "'unheard_of'" in error_of(lambda: start("unheard_of"))


def test_the_published_threshnets_are_named_if_the_space_and_the_images_allow() -> None:
    three = named_networks(None, DEFAULT, 32)
    assert three == {name: with_classes(NAMED[name]) for name in ("threshnet28", "threshnet79", "threshnet95")}
    assert named_networks(None, SPACE, 32) == named_networks(None, DEFAULT, 16) == named_networks([], DEFAULT, 32) == {}


def test_a_study_names_networks_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(replace(SMALLEST, classes=3).to_json()))
    model = "torchvision/shufflenet_v2_x0_5"
    assert named_networks([str(file), "HarDNet68", model], DEFAULT, 32) == {
        "mine": with_classes(SMALLEST),
        "hardnet68": with_classes(NAMED["hardnet68"]),
        model: LibraryModel("torchvision", "shufflenet_v2_x0_5", 10),
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["threshnet29"], "named = 'threshnet29': no network is named 'threshnet29'; choose from threshnet28, "),
        (["missing.json"], "named = 'missing.json': missing.json: "),
        (
            ["torchvision/resnet19"],
            "named = 'torchvision/resnet19': network 'torchvision/resnet19': torchvision has no ",
        ),
        (
            ["torchvision/alexnet"],
            "named = 'torchvision/alexnet': network 'torchvision/alexnet' cannot process images ",
        ),
        (["threshnet28"], "named = 'threshnet28': takes images of at least 29 pixels, and the study has 24"),
    ],
)
def test_a_named_network_that_cannot_be_used_is_one_line(texts: list[str], message: str) -> None:
    assert error_of(lambda: named_networks(texts, DEFAULT, 24)).startswith(message)


def test_a_network_cannot_be_named_twice() -> None:
    twice = ["threshnet28", "ThreshNet28"]
    message = "named = 'ThreshNet28': the same network or name as 'threshnet28'"
    assert error_of(lambda: named_networks(twice, DEFAULT, 32)) == message


# Resuming


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_a_resumed_study_continues_to_the_total_number_of_trials(start: Launch, tmp_path: Path, kind: str) -> None:
    url = f"{kind}{tmp_path / 'resumed'}"
    assert start(small_spec(), url)[1] == Outcome(3, "enough")
    loaded, outcome = start(small_spec(), url, trials=5)
    assert outcome == Outcome(5, "enough")
    trained = [record for record in loaded.records if record.trained]
    assert [record.named for record in trained] == [None, None, "smallest", None, "largest"]
    assert len({record.fingerprint for record in trained}) == 5
    assert len(loaded.environments) == 1  # identical environments are stored once
    assert loaded.spec.trials == 5
    assert start(small_spec(), url, trials=5)[1] == Outcome(5, "enough")


def test_a_study_resumes_after_a_timeout(start: Launch) -> None:
    assert start(small_spec(), timeout_s=0.0)[1] == Outcome(0, "timeout")
    assert start(small_spec())[1] == Outcome(3, "enough")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"sampler": "tpe"}, "sampler was 'random' and is now 'tpe'; to resume it, set sampler = \"random\", or give"),
        ({"input_size": 20}, "input_size was 16 and is now 20"),
        ({"space": replace(SPACE, growths=(2, 4))}, "space.growths was"),
        ({"space": replace(SPACE, granularity="layer")}, "space.granularity was 'block' and is now 'layer'"),
        ({"limits": Limits(params=9e9)}, "to resume it, remove limits.params, or give"),
        ({"rungs": (1,), "recipe": replace(small_spec().recipe, epochs=2)}, "training.epochs was 1 and is now 2"),
        ({"data": DataSettings("digits", train=50, validation=20)}, "data.train was 40 and is now 50"),
        ({"flip": True}, "data.flip was None and is now True"),
        ({"caveat": "Mine"}, "data.caveat was"),
        ({"recipe": replace(small_spec().recipe, epochs=2)}, "training.epochs was 1 and is now 2"),
        ({"runtimes": ("torch",)}, "latency.runtimes was ['onnxruntime'] and is now ['torch']"),
        ({"protocol": replace(small_spec().protocol, threads=2)}, "latency.threads was 1 and is now 2"),
    ],
)
def test_a_changed_setting_is_rejected_by_name(
    start: Launch, log: list[str], changes: dict[str, Any], key: str
) -> None:
    start(small_spec(trials=1))
    log.clear()
    error = error_of(lambda: start(small_spec(trials=1, **changes)))
    assert error.startswith("study 'small' was launched with other settings: ")
    assert key in error
    assert log == []
    assert start(small_spec(trials=2))[1] == Outcome(2, "enough")  # the study is unharmed


def test_the_number_of_trials_the_description_and_the_path_of_the_data_may_change(
    start: Launch, tree: Path, tmp_path: Path
) -> None:
    start(small_spec(tree, trials=1))
    moved = write_tree(tmp_path / "moved")
    loaded, outcome = start(small_spec(moved, trials=2, about="The same in other words"))
    assert outcome == Outcome(2, "enough")
    assert (loaded.spec.about, loaded.spec.dataset.path) == ("The same in other words", moved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials = 0: must be a whole number from 1 to 1,000,000"),
        ({"trials": True}, "trials = True: must be a whole number from 1 to 1,000,000"),
        ({"budget": float("nan")}, "budget = nan: must be a finite number of full trainings above 0"),
        ({"until_plateau": "yes"}, "until_plateau = 'yes': must be true or false"),
        ({"timeout_s": -1}, "timeout_s = -1: must be a number of seconds, at least 0"),
        ({"timeout_s": float("nan")}, "timeout_s = nan: must be a number of seconds, at least 0"),
        ({"timeout_s": "2h"}, "timeout_s = '2h': must be a number of seconds, at least 0"),
    ],
)
def test_invalid_options_are_rejected_before_anything_is_written(
    start: Launch, log: list[str], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    assert error_of(lambda: start(small_spec(), **options)) == message
    assert (log, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "my study"},
        {"name": "../../x"},
        {"name": "-n5"},
        {"rungs": (9, 3)},
        {"runtimes": ()},
        {"runtimes": ("torch-graph",)},
        {"sampler": "luck"},
        {"trials": 0},
        {"recipe": replace(FAST, name="mine")},
        {"space": replace(SPACE, pools=(True,)), "input_size": 1},
    ],
)
def test_an_invalid_spec_is_rejected_before_anything_is_written(
    start: Launch, log: list[str], tmp_path: Path, changes: dict[str, Any]
) -> None:
    error_of(lambda: start(small_spec(**changes)))
    assert (log, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("spec", [None, 3, {"name": "small"}])
def test_a_value_that_is_not_a_spec_is_rejected(start: Launch, spec: Any) -> None:  # noqa: ANN401 - any value
    assert "must be a StudySpec, a TOML file or the name of a built-in spec" in error_of(lambda: start(spec))


# Images that were given at a launch


def test_given_images_are_used_again_by_later_launches(
    start: Launch, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, _ = start(small_spec(trials=1), data=Path("tree"), caveat="Noise")
    monkeypatch.chdir("/")
    loaded, outcome = start(small_spec(trials=2))
    assert outcome == Outcome(2, "enough")
    assert (loaded.spec.dataset.path, loaded.spec.caveat) == (tree, "Noise")
    assert (loaded.classes, loaded.spec.flip) == (first.classes, first.spec.flip)


def test_given_images_that_were_moved_can_be_given_again(start: Launch, tree: Path, tmp_path: Path) -> None:
    start(small_spec(trials=1), data=tree, caveat="Noise")
    moved = tree.rename(tmp_path / "moved")
    error = error_of(lambda: start(small_spec(trials=2)))
    assert error.startswith(f"study 'small' was launched with the images in {tree}, which is not a folder now; ")
    assert error.endswith("launch the study with --data and the new folder")
    loaded, outcome = start(small_spec(trials=2), data=moved)
    assert (outcome, loaded.spec.caveat) == (Outcome(2, "enough"), "Noise")
    assert start(small_spec(trials=3))[1] == Outcome(3, "enough")


def test_the_moved_folder_of_a_spec_can_be_given(start: Launch, tree: Path, tmp_path: Path) -> None:
    start(small_spec(tree, trials=1))
    moved = tree.rename(tmp_path / "moved")
    loaded, outcome = start(small_spec(tree, trials=2), data=moved)
    assert (outcome, loaded.spec.dataset.path, loaded.spec.caveat) == (Outcome(2, "enough"), moved, "")
    assert start(small_spec(tree, trials=3))[1] == Outcome(3, "enough")


def test_other_images_cannot_be_given_to_a_study(start: Launch, tree: Path, tmp_path: Path) -> None:
    start(small_spec(trials=1), data=tree)
    other = write_tree(tmp_path / "other", train=31)
    assert "launched with other images" in error_of(lambda: start(small_spec(trials=2), data=other))


def test_the_name_of_a_data_set_can_be_given(start: Launch, tree: Path) -> None:
    start(small_spec(tree, trials=1), data="digits")
    loaded, outcome = start(small_spec(tree, trials=2))
    assert (outcome, loaded.spec.dataset.name) == (Outcome(2, "enough"), "digits")


def test_images_that_an_earlier_version_was_given_are_used_again(start: Launch, tree: Path) -> None:
    loaded, _ = start(small_spec(trials=1), data=tree)
    loaded.study._storage.set_study_user_attr(loaded.study._study_id, records.GIVEN, None)
    assert start(small_spec(trials=2))[1] == Outcome(2, "enough")


# Studies of earlier versions


def test_a_stored_study_is_loaded_even_if_it_violates_rules_added_later(
    start: Launch, url: str, tmp_path: Path
) -> None:
    start(small_spec(trials=1))
    source = optuna.load_study(study_name="small", storage=open_storage(url, create=False))
    stored = source.user_attrs["study_spec"]
    changed = stored | {
        "name": "-n 5",
        "trials": 0,
        "input_size": 4096,
        "sampler": "luck",
        "limits": {"latency_ms": float("inf")},
        "training": stored["training"] | {"recipe": "slow", "rungs": [9, 3], "batch": 1, "device": "tpu"},
        "latency": stored["latency"] | {"device": "tpu", "runtimes": [], "threads": 0},
        "space": {key: value for key, value in stored["space"].items() if key != "name"} | {"layers": [2, 1]},
        "data": stored["data"] | {"path": "images"},
    }
    target = f"sqlite:///{tmp_path / 'old.db'}"
    copied = optuna.create_study(study_name="-n 5", storage=target, directions=["minimize"] * 2)
    copied.add_trials(source.trials)
    for key, value in (source.user_attrs | {"study_spec": changed}).items():
        copied.set_user_attr(key, value)
    loaded = load_study("-n 5", target)
    assert (loaded.spec.name, loaded.spec.rungs, loaded.spec.recipe.name) == ("-n 5", (9, 3), "slow")
    assert (loaded.spec.space.classes, loaded.spec.space.layers, loaded.spec.dataset.path) == (
        10,
        (2, 1),
        Path("images"),
    )
    assert (loaded.spec.limits.latency_ms, loaded.trained) == (float("inf"), 1)
    assert [(study.name, study.states) for study in list_studies(target)] == [
        ("-n 5", {"not trained": 2, "finished": 1})
    ]


def test_a_damaged_spec_in_a_storage_is_reported(start: Launch, url: str) -> None:
    start(small_spec(trials=1))
    study = optuna.load_study(study_name="small", storage=open_storage(url, create=False))
    study.set_user_attr("study_spec", study.user_attrs["study_spec"] | {"trials": "3"})
    assert error_of(lambda: load_study("small", url)) == "study 'small': trials = '3': must be a whole number"


def test_a_custom_space_keeps_its_name(start: Launch, url: str) -> None:
    space = replace(SPACE, name="mine")
    launched, _ = start(small_spec(trials=1, space=space))
    assert load_study("small", url).spec.space == launched.spec.space == replace(space, classes=10)
    assert start(small_spec(trials=2, space=replace(space, name="other")))[1] == Outcome(2, "enough")
    study = optuna.load_study(study_name="small", storage=open_storage(url, create=False))
    stored = study.user_attrs["study_spec"]
    nameless = {key: value for key, value in stored["space"].items() if key != "name"}
    study.set_user_attr("study_spec", stored | {"space": nameless})  # as earlier versions stored it
    assert start(small_spec(trials=3, space=space))[1] == Outcome(3, "enough")


# Foreign and missing studies


def test_loading_an_unknown_study_lists_the_known_ones(start: Launch, url: str) -> None:
    start(small_spec(trials=1))
    start(small_spec(name="another", trials=1))
    assert error_of(lambda: load_study("smal", url)) == f"no study is named 'smal' in {url!r}; it has another, small"


def test_studies_of_the_same_name_have_separate_checkpoints(start: Launch, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / small_spec().name / "checkpoints"
    start(small_spec())
    start(small_spec())
    first = {file.name for file in folder.iterdir()}
    start(small_spec(), f"journal:{tmp_path / 'other.log'}")
    assert len(first) == 1
    assert len({file.name for file in folder.iterdir()}) == 2


def test_loading_from_an_empty_or_missing_storage_is_rejected(url: str, tmp_path: Path) -> None:
    assert "there is no file" in error_of(lambda: load_study("small", url))
    (tmp_path / "empty.log").touch()
    assert error_of(lambda: load_study("small", f"journal:{tmp_path / 'empty.log'}")).endswith("it has none")


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "minimize"], ["maximize", "minimize"]])
@pytest.mark.parametrize("trials", [0, 1])
def test_a_study_of_plain_optuna_is_rejected(start: Launch, url: str, directions: list[Any], trials: int) -> None:
    plain = optuna.create_study(study_name="small", storage=open_storage(url, create=True), directions=directions)
    for _ in range(trials):
        plain.add_trial(optuna.create_trial(values=[1.0] * len(directions)))
    assert error_of(lambda: load_study("small", url)) == "study 'small' was not made by threshnet launch"
    if trials or directions != ["minimize", "minimize"]:
        assert "'small' was not made by threshnet launch" in error_of(lambda: start(small_spec()))
        assert len(optuna.load_study(study_name="small", storage=open_storage(url, create=True)).trials) == trials
    else:  # an empty study with the right directions, made e.g. by `optuna create-study`, is accepted
        assert start(small_spec())[1] == Outcome(3, "enough")


def test_a_missing_data_set_is_rejected_before_anything_is_written(start: Launch, url: str, tmp_path: Path) -> None:
    assert "no such folder" in error_of(lambda: start(small_spec(tmp_path / "gone")))
    assert not (tmp_path / "studies.log").exists()


# Listing and copying


def test_studies_are_listed_with_their_states(start: Launch, url: str) -> None:
    loaded, _ = start(small_spec(limits=Limits(params=9e9)))
    optuna.create_study(study_name="plain", storage=open_storage(url, create=True))
    plain, small = list_studies(url)
    assert (plain.name, plain.states, plain.hypervolume, plain.last_activity) == ("plain", {}, None, None)
    assert (small.name, small.states) == ("small", {"not trained": 2, "finished": 3})
    assert small.hypervolume == front_of(loaded).hypervolume > 0
    assert small.hypervolume_percent == front_of(loaded).share_percent
    assert small.last_activity is not None


def test_a_study_copied_to_sqlite_and_back_is_unchanged(start: Launch, url: str, tmp_path: Path) -> None:
    original, _ = start(small_spec())
    sqlite, back = f"sqlite:///{tmp_path / 'copy.db'}", f"journal:{tmp_path / 'back.log'}"
    copy_study("small", url, sqlite)
    copy_study("small", sqlite, back)
    for storage in (sqlite, back):
        copied = load_study("small", storage, runs=tmp_path / "runs")
        assert copied.records == original.records
        assert copied.spec == original.spec
        assert copied.environments == original.environments
        assert copied.study.user_attrs == original.study.user_attrs
        assert copied.study.metric_names == original.study.metric_names
        for ours, theirs in zip(copied.study.trials, original.study.trials, strict=True):
            assert (ours.params, ours.values, ours.state) == (theirs.params, theirs.values, theirs.state)
            assert (ours.user_attrs, ours.system_attrs) == (theirs.user_attrs, theirs.system_attrs)
            assert (ours.datetime_start, ours.datetime_complete) == (theirs.datetime_start, theirs.datetime_complete)
    assert start(small_spec(), back, trials=4)[1] == Outcome(4, "enough")
    assert "already has a study named 'small'" in error_of(lambda: copy_study("small", url, sqlite))
    assert "no study is named 'large'" in error_of(lambda: copy_study("large", url, sqlite))


# Importing


def run_python(code: str, folder: Path) -> str:
    """Run code in a fresh process and return its output."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_studies_and_its_command_line_loads_no_torch(tmp_path: Path) -> None:
    heavy = "('numpy', 'torch', 'optuna', 'pandas')"
    code = f"import sys, studies, studies.cli; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code, tmp_path) == "[]\n"


def test_launch_and_load_are_functions_after_repeated_imports() -> None:
    for _ in range(2):
        for name in ("launch", "load"):
            assert getattr(importlib.import_module("studies"), name) is getattr(studies.library, name)
    assert not hasattr(studies, "lanch")


def test_changed_images_are_rejected(start: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'images.db'}"
    start(small_spec(), url)

    def changed(*arguments: object, **options: object) -> SearchData:
        data = load_search(*arguments, **options)  # type: ignore[arg-type]
        data.train.images[0, 0, 0, 0] += 1
        return data

    monkeypatch.setattr("studies.start.prepare.load_search", changed)
    with pytest.raises(InputError, match="was launched with other images"):
        start(small_spec(), url, trials=5)
    monkeypatch.undo()
    assert len(load_study("small", url).records) == 5


# Images in memory


def in_memory(seed: int = 0, train: int = 40) -> DataSettings:
    """The settings of dark and bright images in memory, with validation images and without test images."""
    parts = {"train": dark_and_bright(train, seed), "validation": dark_and_bright(20, seed + 1)}
    pairs = {name: (split.images, split.labels) for name, split in parts.items()}
    return as_settings(ImageData(**pairs, classes=("dark", "bright")))


def test_a_study_of_images_in_memory_resumes_with_the_same_images(
    start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, _ = start(small_spec(data=in_memory(), trials=2))
    assert loaded.classes == ("dark", "bright")
    assert (loaded.images["train"], loaded.images["validation"]) == (40, 20)
    assert loaded.study.user_attrs["class_counts"] == {"train": [20, 20], "validation": [10, 10]}
    monkeypatch.setattr(memory, "_held", {})  # as in another process
    assert "pass the same images again with data=..." in error_of(lambda: start(loaded.spec, trials=3))
    resumed, outcome = start(small_spec(data=in_memory(), trials=3))
    assert outcome == Outcome(3, "enough")
    assert resumed.spec.dataset == loaded.spec.dataset


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        ({"seed": 3}, "data.memory.hash was "),
        ({"train": 42}, "data.memory.train was 40 and is now 42"),
        (None, "data.name was 'memory' and is now 'digits'"),
    ],
)
def test_other_images_are_rejected(start: Launch, data: dict[str, int] | None, changed: str) -> None:
    start(small_spec(data=in_memory(), trials=1))
    other = small_spec(trials=1) if data is None else small_spec(data=in_memory(**data), trials=1)
    error = error_of(lambda: start(other))
    assert changed in error
    assert "to resume it, pass the images of the study again with data=..." in error


def test_an_export_of_images_in_memory_reports_the_missing_test_images() -> None:
    images = images_of_study(in_memory(), 16)
    assert images.calibration is not None
    assert images.test is None
    assert "they have no test images" in images.missing


def test_the_box_of_a_study_can_change(start: Launch) -> None:
    first, _ = start(small_spec(trials=2))
    assert first.spec.box == "log"
    changed = small_spec(trials=2, box="linear", max_error=50.0)
    later, _ = start(changed)
    assert (later.spec.box, later.spec.max_error) == ("linear", 50.0)
    assert later.records == first.records
    assert front_of(later).box == replace(front_of(first).box.linear, max_error=50.0)


def test_the_box_reaches_to_the_most_frequent_class(start: Launch) -> None:
    loaded, _ = start(small_spec(trials=1))
    counts = loaded.study.user_attrs[records.CLASS_COUNTS]["validation"]
    assert loaded.class_images == tuple(counts)
    assert front_of(loaded).box.max_error == pytest.approx(100 * (1 - max(counts) / sum(counts)))
    assert box_in(loaded.study, loaded.spec.objective, 10) == study_box(loaded)


def test_the_metric_of_a_study_cannot_change(start: Launch) -> None:
    loaded, _ = start(small_spec(trials=1, metric="balanced_error"))
    assert loaded.study.metric_names == ["balanced error (%)", "latency (ms)"]
    assert loaded.spec.metric == "balanced_error"
    trained = [record for record in loaded.records if record.trained]
    assert trained
    assert all(record.class_errors is not None for record in trained)
    assert "other settings: objective.metric was" in error_of(lambda: start(small_spec(trials=2)))


def test_the_caveat_of_other_images_is_that_of_their_data_set(start: Launch) -> None:
    few = small_spec(trials=1, data=DataSettings("digits", train=40, validation=10))
    loaded, _ = start(few, data=in_memory())  # all 20 validation images that are given are used
    assert (loaded.spec.caveat, loaded.images["validation"]) == ("", 20)
    other, _ = start(small_spec(trials=1, name="other"), data="noisy_digits")
    assert other.spec.caveat == DATASETS["noisy_digits"].caveat
