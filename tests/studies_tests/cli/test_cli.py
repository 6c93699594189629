"""The command line: the output of each command, and its one-line error for bad input."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from search_tests.tiny import LARGEST, SMALLEST, StubMeasurement
from studies_tests.small import TREE_NETWORK, name_networks, small_spec, write_tree

from search.latency.protocol import MeasurementError
from search.latency.reading import Latency
from studies import cli
from studies.cli import launch
from studies.export.card import ExportResult, ModelInfo
from studies.export.folder import ExportedModel
from studies.export.score import Score
from studies.fronts.front import front_of
from studies.fronts.wording import volume_text
from studies.library import Study
from studies.study import launch_study, load_study, progress_of
from threshnet import NAMED
from threshnet.baselines import BASELINES, build_baseline
from threshnet.costs import count
from threshnet.counting import count_modules
from threshnet.export.folder import Exported
from threshnet.published import PUBLISHED
from threshnet.shapes import smallest_input

COMMANDS = ("launch", "studies", "pareto", "remeasure", "volume", "export", "measure", "costs", "train", "check")
TOML = """
name = "mine"
trials = 2
sampler = "random"
input_size = 16
[space]
stems = [{widths = [4, 8], stride = 2, pool = false}]
activations = ["relu"]
blocks = [1]
layers = [1, 2, 3]
units = ["conv"]
bottleneck_widths = [8]
multipliers = [1.0]
outputs = ["all"]
growths = [2, 4, 6]
transitions = [4, 6]
pools = [false]
block_dropouts = [0.0]
head_dropouts = [0.0]
[data]
train = 40
validation = 20
[latency]
retakes = 0
"""


@dataclass(frozen=True)
class Output:
    """The exit status and the output of a command."""

    status: int | str | None
    out: str
    err: str


Run = Callable[..., Output]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `threshnet` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Output:
        monkeypatch.setattr(sys, "argv", ["threshnet", *map(str, arguments)])
        status: int | str | None = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        return Output(status, *capsys.readouterr())

    return run


@pytest.fixture
def error_of(run: Run) -> Callable[..., str]:
    """Run a command on bad input; returns its only line on stderr, a usage error with exit status 2."""

    def error_of(*arguments: str | Path) -> str:
        output = run(*arguments)
        assert output.status == 2
        assert output.out in ("", f"launching {' '.join(map(str, arguments[1:2]))}\n")
        assert output.err.startswith("error: ")
        assert output.err.count("\n") == 1
        assert output.err.endswith("\n")
        return output.err.removeprefix("error: ").strip()

    return error_of


@pytest.fixture
def storage(log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage with the study `small`: two named networks and two discovered ones, no number is real."""
    name_networks(monkeypatch, {"threshnet28": SMALLEST, "hardnet68": LARGEST}, first=True)
    url = f"journal:{tmp_path / 'studies.log'}"
    launch_study(small_spec(trials=4, caveat="Made up"), url, runs=tmp_path / "runs")
    return url


# The storage in the environment


def test_commands_read_the_storage_from_the_environment(
    run: Run, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("pareto", "small").status == 2
    monkeypatch.setenv("OPTUNA_STORAGE", storage)
    for command in ("studies", "pareto small", "volume small"):
        assert run(*command.split()).status == 0
    help_text = " ".join(run("studies", "--help").out.split())
    assert "env var: OPTUNA_STORAGE" in help_text


# The demo


def test_the_demo_writes_the_page_and_the_model_and_its_next_commands_run_as_printed(
    run: Run, log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("small.toml").write_text(TOML.replace('name = "mine"', 'name = "small"') + "[training]\nepochs = 2\n")
    monkeypatch.setattr(launch, "DEMO", "small.toml")
    done = run("demo")
    assert done.status == 0, done.err
    assert "Pareto front of small" in done.out
    assert "front of 1: " in done.out
    assert f"Look at {Path('runs/small/front.html')} in a browser." in done.out
    assert "<title>Pareto front of small</title>" in Path("runs/small/front.html").read_text()
    assert run("check", "runs/small/model").status == 0
    commands = [line.removeprefix("Next: ") for line in done.out.splitlines() if line.startswith("Next: ")]
    assert [command.split()[1] for command in commands] == ["pareto", "pick", "benchmark", "init"]
    for command in commands:
        following = run(*shlex.split(command)[1:])
        assert following.status == 0, f"{command}: {following.err}"
    assert run("demo").status == 0  # the finished search is not repeated


# Bad input

BAD: list[tuple[str, list[str]]] = [
    ("nonsense", ["No such command 'nonsense'"]),
    ("studies nonsense", ["No such command 'nonsense'"]),
    ("costs --colour red", ["No such option", "--colour"]),
    ("launch", ["Missing argument 'SPEC'"]),
    ("launch cifar11", ["'cifar11'", "cifar10_cpu", "digits"]),
    ("launch gone.toml", ["gone.toml: no such file"]),
    ("launch digits --trials 0", ["--trials", "0", "x>=1"]),
    ("launch digits --trials many", ["--trials", "'many'", "integer"]),
    ("launch digits --timeout soon", ["--timeout", "'soon'", "90s, 15m or 2h"]),
    ("launch digits --timeout 0", ["--timeout", "'0'", "90s, 15m or 2h"]),
    ("launch digits --timeout nan", ["--timeout", "'nan'"]),
    ("launch digits --timeout -2h", ["--timeout", "'-2h'"]),
    ("launch digits --timeout h", ["--timeout", "'h'"]),
    ("launch digits --caveat Mine", ["--caveat goes with --data"]),
    ("launch digits --page empty", ["--page", "'empty' is a directory"]),
    ("launch gone.toml --dry-run", ["gone.toml: no such file"]),
    ("launch digits --dry-run --data empty", ["data path empty", "no folder train/"]),
    ("launch precision.toml --dry-run", ["precision 'fp16'", "'cpu' measures fp32 only"]),
    ("launch digits --data gone", ["'gone'", "must be a folder or one of digits"]),
    ("launch digits --data empty", ["data path empty", "no folder train/"]),
    ("launch digits --storage nonsense", ["storage = 'nonsense'", "sqlite:///threshnet.db", "journal:PATH"]),
    ("launch digits --storage sqlite:///gone/x.db", ["storage 'sqlite:///gone/x.db'", "no folder gone"]),
    ("launch digits --storage sqlite:///empty", ["storage 'sqlite:///empty' cannot be used"]),
    ("launch digits --storage journal:empty", ["storage 'journal:empty' cannot be used"]),
    ("launch key.toml", ["key.toml: unknown key 'space.depth'", "layers"]),
    ("launch device.toml", ["device.toml: latency.device: device 'tpu'", "must be cpu, cuda"]),
    ("launch gpu.toml", ["training.device = 'cuda:99'", "torch sees ", "CUDA device(s) here"]),
    ("launch precision.toml", ["precision 'fp16'", "'cpu' measures fp32 only"]),
    ("launch layout.toml", ["channels_last", "torch, not with 'onnxruntime'"]),
    ("launch damaged.toml --data damaged --storage journal:x.log", ["damaged/train/dark/000.png", "intact image"]),
    ("studies", ["storage 'sqlite:///threshnet.db'", "no file threshnet.db"]),
    ("studies copy small journal:gone.log journal:x.log", ["no file gone.log"]),
    ("pareto small", ["storage 'sqlite:///threshnet.db'", "no file threshnet.db"]),
    ("pareto small --backend torch --results out", ["--results", "cannot be combined with --backend"]),
    ("remeasure", ["Missing argument 'STUDY'"]),
    ("remeasure small --runtime torch", ["storage 'sqlite:///threshnet.db'", "no file threshnet.db"]),
    ("remeasure small --threads 0", ["--threads", "0", "x>=1"]),
    ("export -o model", ["STUDY with --trial or --knee", "--knee", "--named NAME", "--config FILE"]),
    ("export --named threshnet28 --config tree.json -o model", ["name what to export"]),
    ("export small --named threshnet28 -o model", ["name what to export"]),
    ("export small -o model", ["name what to export"]),
    ("export small --trial 1 --knee -o model", ["name what to export"]),
    ("export small --knee --classes 3 -o model", ["--classes need --named or --config"]),
    ("export --named threshnet28", ["Missing option", "-o"]),
    ("export --named threshnet29 -o model", ["'threshnet29'", "threshnet28, threshnet79"]),
    ("export --named threshnet79 --input 8 -o model", ["input size 8 is too small"]),
    ("export --config gone.json -o model", ["gone.json: no such file"]),
    ("export --config tree.json --weights gone.pth -o model", ["gone.pth: no such weights file"]),
    ("export small --knee --epochs 3 -o model", ["--epochs and --seeds need --recipe"]),
    ("export --named threshnet28 --recipe fast -o model", ["--recipe needs --data"]),
    (
        "export --named threshnet28 --recipe fast --weights w.pth --data digits -o model",
        ["--weights and --recipe exclude"],
    ),
    ("export --named threshnet28 --data digits -o model", ["--data needs --recipe or --weights"]),
    ("export --named threshnet28 --recipe slow --data digits -o model", ["'slow'", "published, fast"]),
    ("export --config tree.json --recipe fast --data digits -o model", ["tree has 2 classes, digits has 10"]),
    ("export --named threshnet28 --device tpu -o model", ["device 'tpu'", "must be cpu, cuda"]),
    ("check gone", ["gone: no such folder"]),
    ("check tree.json", ["tree.json: no such folder"]),
    ("measure threshnet29", ["'threshnet29'", "threshnet28, threshnet79"]),
    ("measure threshnet79 --input 8", ["input size 8 is too small"]),
    ("measure threshnet79 --input 8 --runtime torch", ["input size 8 is too small"]),
    ("measure tree.json --device tpu", ["device 'tpu'", "cpu"]),
    ("measure tree.json --runtime tf", ["runtime 'tf'", "onnxruntime, torch"]),
    ("measure tree.json --batch 0", ["--batch", "0", "x>=1"]),
    ("measure depth.json", ["depth.json: blocks[0]: depth (layers of a block) = 0", "1 to 64"]),
    ("costs depth.json", ["depth.json: blocks[0]: depth (layers of a block) = 0", "1 to 64"]),
    ("costs links.json", ["links.json: blocks[0]: links of layer 2 = [0, 5]", "0 to 1"]),
    ("costs thresholds.json", ["thresholds.json: unknown key 'blocks[0].thresholds'", "links"]),
    ("costs array.json", ["array.json: [1, 2]: must be a table of keys"]),
    ("costs text.json", ["text.json: not a JSON file"]),
    ("costs empty", ["empty/config.json: no such file"]),
    ("costs threshnet79 --input 8", ["input size 8 is too small", "larger input"]),
    ("costs --classes 1", ["--classes", "1", "x>=2"]),
    ("train tree.json --data gone -o model", ["'gone'", "digits, noisy_digits, cifar10, svhn"]),
    ("train tree.json --data empty -o model", ["data path empty", "no folder train/"]),
    ("train tree.json --data digits -o model", ["tree has 2 classes", "digits has 10"]),
    ("train threshnet28 --data digits --recipe slow -o model", ["'slow'", "published, fast"]),
    ("train threshnet28 --data digits --epochs 0 -o model", ["--epochs", "0", "x>=1"]),
    ("train threshnet79 --data digits --input 8 -o model", ["input size 8 is too small"]),
    ("train tree.json --data damaged -o model --input 16", ["damaged/train/dark/000.png", "intact image"]),
    ("train tree.json --data damaged", ["Missing option", "-o"]),
]


@pytest.fixture
def files(tmp_path: Path) -> None:
    """The files that the bad commands name."""
    (tmp_path / "empty").mkdir()
    document = TREE_NETWORK.to_json()
    block = document["blocks"][0]
    for name, changed in (
        ("tree", document),
        ("depth", document | {"blocks": [block | {"links": []}]}),
        ("links", document | {"blocks": [block | {"links": [[0], [0, 5]]}]}),
        ("thresholds", document | {"blocks": [block | {"thresholds": [4]}]}),
        ("array", [1, 2]),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(changed))
    (tmp_path / "text.json").write_text("a network")
    (tmp_path / "key.toml").write_text('name = "mine"\ntrials = 2\n[space]\ndepth = [1]\n')
    (tmp_path / "device.toml").write_text('name = "mine"\ntrials = 2\n[latency]\ndevice = "tpu"\n')
    for name, table in (
        ("gpu", '[training]\ndevice = "cuda:99"\n'),
        ("precision", '[latency]\nprecision = "fp16"\n'),
        ("layout", "[latency]\nchannels_last = true\n"),
    ):
        (tmp_path / f"{name}.toml").write_text(f'name = "mine"\ntrials = 2\n{table}')
    (tmp_path / "damaged.toml").write_text('name = "mine"\ntrials = 2\n')
    image = write_tree(tmp_path / "damaged", train=4, test=1) / "train" / "dark" / "000.png"
    image.write_bytes(image.read_bytes()[:100])


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("command", "parts"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_ends_in_one_line(error_of: Callable[..., str], command: str, parts: list[str]) -> None:
    error = error_of(*command.split())
    for part in parts:
        assert part in error
    assert not Path("model").exists()


def test_an_empty_timeout_is_rejected(error_of: Callable[..., str]) -> None:
    assert "90s, 15m or 2h" in error_of("launch", "digits", "--timeout", "")


def test_the_former_spelling_of_backend_and_device_is_accepted(error_of: Callable[..., str]) -> None:
    assert "cannot be combined with --backend" in error_of("pareto", "small", "--on", "torch", "--results", "out")
    assert "device 'tpu'" in error_of("export", "--named", "threshnet28", "--on", "tpu", "-o", "model")


def test_an_unknown_study_is_rejected(error_of: Callable[..., str], storage: str) -> None:
    for command in (["pareto", "smal"], ["export", "smal", "--knee", "-o", "model"]):
        assert "no study is named 'smal'" in error_of(*command, "--storage", storage)
    assert "no study is named 'smal'" in error_of("studies", "copy", "smal", storage, "journal:copy.log")


def test_an_unknown_trial_is_rejected(error_of: Callable[..., str], storage: str) -> None:
    error = error_of("export", "small", "--trial", "17", "-o", "model", "--storage", storage)
    assert error == "trial 17 of study 'small' does not exist; trained are 0, 1, 2, 3"


def test_missing_weights_are_reported_in_one_line(error_of: Callable[..., str], storage: str, tmp_path: Path) -> None:
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    error = error_of("export", "small", "--knee", "-o", "model", "--storage", storage)
    assert "are not in runs/small/weights" in error


@pytest.mark.parametrize("command", ["launch cifar10_cpu", "launch svhn_cpu", "train threshnet28 --data svhn -o model"])
def test_a_download_without_a_network_is_reported_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def unreachable(*_arguments: object, **_options: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    output = run(*command.split())
    assert output.status == 2
    assert output.err.count("\n") == 1
    for part in ("the download failed", "no network", "in data", "ImageFolder"):
        assert part in output.err


def test_a_failed_measurement_is_reported_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, files: None) -> None:
    def fail(*_arguments: object, **_options: object) -> Latency:
        raise MeasurementError("the probe died")

    monkeypatch.setattr("search.latency.measure.measure_on", fail)
    output = run("measure", "tree.json")
    assert (output.status, output.out, output.err) == (1, "", "error: could not measure tree: the probe died\n")


def test_other_settings_of_a_study_are_rejected(error_of: Callable[..., str], run: Run, log: list[str]) -> None:
    Path("mine.toml").write_text(TOML)
    assert run("launch", "mine.toml", "--storage", "journal:x.log").status == 0
    Path("mine.toml").write_text(TOML.replace("train = 40", "train = 50"))
    error = error_of("launch", "mine.toml", "--storage", "journal:x.log")
    assert "'mine' was launched with other settings: data.train was 40 and is now 50" in error


# What the commands do


def test_help_is_fast_and_lists_the_commands(tmp_path: Path) -> None:
    code = "import sys; from studies.cli import main; sys.argv[0] = 'threshnet'; main()"
    seconds = []  # of processor time, which other processes hardly change
    for _ in range(2):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", code, "--help"], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.5
    listed = [line.split()[0] for line in done.stdout.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert set(COMMANDS) <= set(listed)


def test_without_arguments_the_help_is_printed(run: Run) -> None:
    assert run() == run("--help") == run("-h")
    assert run().status == 0
    assert run().out.startswith("Usage: threshnet")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    output = run(command, "--help")
    assert (output.status, output.err) == (0, "")
    assert output.out.startswith(f"Usage: threshnet {command}")


def test_the_version_is_printed(run: Run) -> None:
    output = run("--version")
    assert output.status == 0
    assert output.out.startswith("threshnet, version ")


def test_a_launch_prints_its_trials_and_the_next_command(run: Run, log: list[str]) -> None:
    Path("mine.toml").write_text(TOML)
    output = run("launch", "mine.toml", "--storage", "journal:x.log", "--trials", "3")
    assert (output.status, output.err) == (0, "")
    first, images, opening, *trials, again, space, done, plateau, correlation, following = output.out.splitlines()
    assert first == "launching mine.toml"
    assert images == "40 training images in 10 classes, 4 in each"
    assert opening == "0 of 3 networks so far; Ctrl-C stops"
    assert [line.split()[:2] for line in trials] == [["trial", "0"], ["trial", "1"], ["trial", "2"]]
    assert again == "measuring 3 networks again: the front and those that may belong to it"
    assert done == "mine: 3 networks trained: done."
    assert (plateau, correlation) == progress_of(load_study("mine", "journal:x.log")).sentences
    assert re.fullmatch(r"space default: \S+ points, \S+ distinct networks", space)
    assert following == "Next: threshnet pareto mine --html front.html --storage journal:x.log"
    # The weights, the picture and the samples of each, and the samples of the final pass.
    assert len(list(Path("runs/mine/weights").iterdir())) == 3 * 3 + 3
    assert "mine: 3 networks trained: done." in run("launch", "mine.toml", "--storage", "journal:x.log").out
    assert (
        "mine: 5 networks trained: done."
        in run("launch", "mine.toml", "--storage", "journal:x.log", "--trials", "5").out
    )


def test_a_launch_prints_json_for_scripts(run: Run, log: list[str]) -> None:
    Path("mine.toml").write_text(TOML)
    output = run("launch", "mine.toml", "--storage", "journal:x.log", "--trials", "3", "--json")
    assert json.loads(output.out) == {
        "study": "mine",
        "ended": "enough",
        "trained": 3,
        "failed": 0,
        "stopped": 0,
    }
    words = [line.split()[0] for line in output.err.splitlines()]
    assert words == ["launching", "40", "0", "trial", "trial", "trial", "measuring"]


def test_a_launch_reads_images_from_a_folder(run: Run, log: list[str], tree: Path) -> None:
    Path("mine.toml").write_text(TOML)
    output = run("launch", "mine.toml", "--storage", "journal:x.log", "--data", tree, "--caveat", "Noise")
    assert output.status == 0, output.err
    loaded = load_study("mine", "journal:x.log")
    assert (loaded.classes, loaded.spec.caveat, loaded.spec.dataset.name) == (("bright", "dark"), "Noise", "folder")
    assert (loaded.spec.dataset.train, loaded.spec.flip) == (40, False)
    again = run("launch", "mine.toml", "--storage", "journal:x.log", "--trials", "3")
    assert again.status == 0, again.err
    assert "mine: 3 networks trained: done." in again.out


def test_an_interrupted_launch_can_be_resumed(run: Run, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    Path("mine.toml").write_text(TOML)
    monkeypatch.setattr("search.objective.train", interrupt)
    output = run("launch", "mine.toml", "--storage", "journal:x.log")
    assert output.status == 130
    assert "mine: 0 networks trained, of 2: stopped; rerun the command to resume." in output.out


def test_studies_are_listed(run: Run, storage: str) -> None:
    output = run("studies", "--storage", storage)
    assert (output.status, output.err) == (0, "")
    assert "small" in output.out
    (listed,) = json.loads(run("studies", "--storage", storage, "--json").out)
    assert (listed["name"], listed["states"]) == ("small", {"finished": 4})
    front = front_of(load_study("small", storage))
    assert (listed["hypervolume"], listed["hypervolume_percent"]) == (front.hypervolume, front.share_percent)
    assert f"{front.share_percent:.2f}" in output.out


def test_a_study_is_copied_there_and_back(run: Run, storage: str) -> None:
    there = run("studies", "copy", "small", storage, "sqlite:///copy.db")
    assert (there.status, there.out.splitlines()[0]) == (0, "copied small to sqlite:///copy.db")
    assert run("studies", "copy", "small", "sqlite:///copy.db", "journal:back.log").status == 0
    assert load_study("small", "journal:back.log").records == load_study("small", storage).records
    assert run("studies", "copy", "small", storage, "journal:back.log").status == 2


def test_the_front_is_shown_with_the_named_networks_and_the_progress(run: Run, storage: str) -> None:
    output = run("pareto", "small", "--storage", storage)
    assert (output.status, output.err) == (0, "")
    front = front_of(load_study("small", storage))
    for part in ("ThreshNet28", "HarDNet68", "Note: Made up.", f"{len(front.front)} of 4 trained networks"):
        assert part in output.out
    for record in front.trained:
        assert f"{record.error:.2f}" in output.out
    words = " ".join(output.out.split())  # lines are broken at the terminal's width
    for sentence in progress_of(load_study("small", storage)).sentences:
        assert sentence in words
    assert f"hypervolume: {volume_text(front)}" in words


def test_the_front_is_written_in_every_format(run: Run, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.report.results.write_png", lambda front, file: file.write_bytes(b"a picture"))
    loaded = load_study("small", storage)
    options = ["--html", "out/[b]front.html", "--csv", "out/trials.csv", "--results", "out/results"]
    output = run("pareto", "small", "--storage", storage, "--json", *options, "--png", "front.png")
    assert output.status == 0
    assert json.loads(output.out) == json.loads(json.dumps(Study(loaded).to_json()))
    assert "wrote out/[b]front.html\n" in output.err
    assert "Pareto front" in Path("out/[b]front.html").read_text()
    with Path("out/trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["finished"] * 4
    assert sorted(file.name for file in Path("out/results").iterdir()) == [
        "README.md",
        "environment.json",
        "figure.png",
        "front.json",
        "trials.csv",
    ]


def test_costs_equal_the_counted_and_the_published_ones(run: Run) -> None:
    output = run("costs", "--json")
    assert (output.status, output.err) == (0, "")
    for row, (name, spec) in zip(json.loads(output.out), NAMED.items(), strict=True):
        assert row.pop("network").lower() == name
        assert row.pop("classes") == spec.classes
        assert row.pop("published") == asdict(PUBLISHED[name])
        wrong = [(one["column"], one["status"]) for one in row.pop("discrepancies")]
        assert wrong == ([("params", "unexplained")] if name == "threshnet79" else [])
        assert row == asdict(count(spec, 224))
    (one,) = json.loads(run("costs", "HarDNet68", "--input", "64", "--classes", "10", "--json").out)
    assert one["params"] == count(replace(NAMED["hardnet68"], classes=10), 64).params
    assert one["published"] is None  # costs are published for images of 224 pixels
    table = run("costs", "threshnet79").out
    assert f"{count(NAMED['threshnet79'], 224).params:,}" in table
    assert re.search(r"ThreshNet79 .*\n +published +14\.31 M +3\.46 +6\.90 +109\.68", table)
    assert "ThreshNet79: 14.37 M params (14.31 published). Unexplained: " in table


def test_costs_of_comparison_networks_have_the_same_columns(run: Run) -> None:
    names = ["squeezenet", "shufflenet_v2_stride8"]
    rows = json.loads(run("costs", *names, "--input", "32", "--classes", "10", "--json").out)
    for one, name in zip(rows, names, strict=True):
        counted = asdict(count_modules(build_baseline(BASELINES[name], 10), 32))
        assert {key: one[key] for key in counted} == counted
        assert (one["network"], one["classes"], one["published"]) == (BASELINES[name].title, 10, None)
    table = run("costs", "SqueezeNet").out
    assert re.search(r"SqueezeNet +1000 +1,248,424", table)
    assert "SqueezeNet: 1.25 M params (0.78 published), 0.83 G FLOPs (2.69 published)" in table
    assert "Explained: the row counts the network of weiaicunzai/pytorch-cifar100" in table


def test_costs_of_named_networks_load_no_torch() -> None:
    code = (
        "import sys; from studies.cli import cli; cli(['costs'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.usefixtures("files")
def test_a_measurement_is_printed_as_json_with_its_interval(run: Run) -> None:
    output = run("measure", "tree.json", "--input", "16", "--json")
    assert (output.status, output.err) == (0, "")
    reading = json.loads(output.out)
    assert (reading["network"], reading["device"], reading["runtime"]) == ("tree", "cpu", "onnxruntime")
    assert (reading["batch"], reading["input_size"], reading["threads"]) == (1, 16, 1)
    assert 0 < reading["low_ms"] <= reading["latency_ms"] <= reading["high_ms"]
    assert len(reading["rounds_ms"]) >= 6
    assert reading["runtime_version"]
    assert reading["processor"]


@pytest.mark.usefixtures("files")
def test_a_measurement_is_printed_as_a_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.latency.measure.measure_on", StubMeasurement([]))
    output = run("measure", "tree.json", "--input", str(smallest_input(TREE_NETWORK)), "--batch", "4")
    assert (output.status, output.err) == (0, "")
    for part in (
        "Latency of tree",
        "95 % interval",
        "ratio to the reference",
        "abacus",
        "batch 4",
        "onnxruntime 1, fp32",
    ):
        assert part in output.out


@pytest.mark.usefixtures("files")
def test_an_export_replaces_no_readme_of_another_origin(run: Run) -> None:
    Path("model").mkdir()
    Path("model/README.md").write_text("precious")
    output = run("export", "--config", "tree.json", "-o", "model", "--input", "16")
    assert (output.status, output.out) == (2, "")
    assert output.err == "error: model/README.md: another file of this name exists; choose another folder\n"
    assert [file.read_text() for file in Path("model").iterdir()] == ["precious"]


def test_a_group_without_a_command_shows_its_help(run: Run) -> None:
    output = run("device")
    assert output.status == 0
    assert output.out.startswith("Usage: threshnet device [OPTIONS] COMMAND [ARGS]...\n")


@pytest.mark.usefixtures("files")
def test_a_network_is_exported_and_reported_as_untrained(run: Run) -> None:
    output = run("export", "--config", "tree.json", "-o", "new/[b]model", "--input", "16")
    assert (output.status, output.err) == (0, "")
    names = ["config.json", "model.safetensors", "model.py", "model.onnx", "predict.py", "model.pt2", "model_int8.onnx"]
    *paths, summary, folder, following = output.out.splitlines()
    assert paths == [f"new/[b]model/{name}" for name in (*names, "README.md")]
    assert summary.startswith("tree: untrained, random weights; all fp32 files consistent within ")
    assert folder == "files in new/[b]model"
    assert following == "Next: threshnet check 'new/[b]model'"
    assert all(Path(path).is_file() for path in paths)


@pytest.mark.usefixtures("files")
def test_a_network_is_trained(run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(model: object, folder: Path, info: ModelInfo, *others: object) -> ExportedModel:
        return ExportedModel(info, ExportResult(Exported(folder, {}, 0.0), {"model.safetensors": Score(1, 8)}))

    monkeypatch.setattr("studies.export.final_training.export_model", export)
    command = ["train", "tree.json", "--data", tree, "--epochs", "2", "--input", "16", "-o", "model"]
    output = run(*command)
    assert (output.status, output.err) == (0, "")
    first, second, summary, folder, following = output.out.splitlines()
    assert first.startswith("epoch   1 of 2  loss ")
    assert second.startswith("epoch   2 of 2  loss ")
    assert summary.startswith("tree: test error 12.50 %")
    assert (folder, following) == ("files in model", "Next: threshnet check model")
    assert not list(Path("model").glob("checkpoint*"))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["launch", "--help"], ["studies", "--storage", "journal:studies.log"]]
)
def test_help_and_the_list_of_studies_load_no_torch(arguments: list[str], storage: str, tmp_path: Path) -> None:
    heavy = ("torch", "scipy", "pandas", "plotly", "onnxruntime")
    program = (
        f"import sys; from studies.cli import cli; cli({arguments}, standalone_mode=False); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert output.stdout.splitlines()[-1] == "[]"
    assert len(output.stdout.splitlines()) > 5
