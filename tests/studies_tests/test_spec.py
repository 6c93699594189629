"""Study specs: what they say comes back, and each wrong file, key and value is named."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data import DATASETS, DataSettings
from search.latency.protocol import Protocol
from search.samplers.named import SAMPLERS
from search.training.recipes import RECIPES
from space import SPACES, Limits
from space.definition import Granularity
from studies.spec import BUILT_IN, StudySpec, find_spec, parse_spec, read_spec
from threshnet import InputError

TOMLS = sorted(BUILT_IN.glob("*.toml"))
LEAST = 'name = "mine"\ntrials = 3\n'


def refused(call: Callable[[], object]) -> str:
    """The one line with which bad input is refused."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(one: StudySpec, other: StudySpec) -> bool:
    """Whether two specs say the same; only the names of built-in spaces are written down."""
    if one.space.name not in SPACES:
        one = replace(one, space=replace(one.space, name=other.space.name))
    return one == other


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "mine.toml"
        file.write_text(text)
        return file

    return write


# What comes back


@pytest.mark.parametrize("file", TOMLS, ids=lambda file: file.stem)
def test_built_in_specs_say_what_their_files_say(file: Path) -> None:
    document = tomllib.loads(file.read_text())
    spec = read_spec(file)
    assert spec == find_spec(file.stem) == find_spec(str(file))
    assert spec.name == file.stem == document["name"]
    assert spec.trials == document["trials"]
    assert spec.recipe.epochs == document["training"]["epochs"]
    assert list(spec.runtimes) == document["latency"]["runtimes"]
    assert spec.space.granularity == document["space"]["granularity"]
    assert spec.limits == Limits(**document["limits"])


@pytest.mark.parametrize("file", TOMLS, ids=lambda file: file.stem)
def test_built_in_specs_survive_json(file: Path) -> None:
    spec = read_spec(file)
    written = json.loads(json.dumps(spec.to_json()))
    assert same(parse_spec(written), spec)
    assert parse_spec(written).to_json() == spec.to_json()


SPECS = st.builds(
    StudySpec,
    name=st.text("abcXYZ019-_.", min_size=1).filter(lambda name: name.strip(".")),
    trials=st.integers(1, 1_000_000),
    budget=st.none() | st.floats(0.1, 1000.0),
    until_plateau=st.booleans(),
    about=st.text(),
    seed=st.integers(0, 2**31 - 1),
    sampler=st.sampled_from(sorted(SAMPLERS)),
    input_size=st.integers(1, 1024),
    space=st.sampled_from(list(SPACES.values())).flatmap(
        lambda space: st.sampled_from(get_args(Granularity)).map(
            lambda granularity: replace(space, granularity=granularity)
        )
    ),
    limits=st.builds(Limits, params=st.none() | st.integers(1, 10**8), latency_ms=st.none() | st.floats(0.1, 100.0)),
    data=st.builds(
        DataSettings,
        name=st.sampled_from(sorted(DATASETS)),
        path=st.sampled_from(["images", "/srv/images"]).map(Path),
        train=st.none() | st.integers(1, 50_000),
        validation=st.none() | st.integers(1, 50_000),
        seed=st.integers(0, 2**32 - 1),
    ),
    flip=st.none() | st.booleans(),
    caveat=st.text(),
    recipe=st.sampled_from(list(RECIPES.values())).flatmap(
        lambda recipe: st.builds(replace, st.just(recipe), epochs=st.integers(1, 300), learning_rate=st.floats(1e-5, 1))
    ),
    trains_on=st.sampled_from(["auto", "cpu", "cuda", "cuda:1"]),
    runtimes=st.sampled_from([("onnxruntime",), ("torch", "onnxruntime")]),
    protocol=st.builds(
        Protocol,
        threads=st.integers(1, 8),
        precision=st.sampled_from(["fp32", "fp16", "bf16"]),
        channels_last=st.booleans(),
        round_runs=st.integers(20, 100),
        discard=st.integers(1, 19),
        max_s=st.floats(1, 10),
    ),
)


@given(SPECS)
def test_every_spec_survives_json(spec: StudySpec) -> None:
    assert same(parse_spec(json.loads(json.dumps(spec.to_json()))), spec)


def test_a_table_changes_its_base(toml: Callable[[str], Path]) -> None:
    text = (
        LEAST + '[space]\nbase = "small-images"\nlayers = [1, 2]\nmultipliers = [1]\n[training]\nrecipe = "published"\n'
    )
    spec = find_spec(str(toml(text + "learning_rate = 1\n[latency]\nmax_s = 2\n")))
    assert spec.space == replace(SPACES["small-images"], layers=(1, 2), multipliers=(1.0,))
    assert spec.recipe == replace(RECIPES["published"], learning_rate=1.0)
    assert spec.protocol == Protocol(max_s=2.0)
    assert spec.data == DataSettings("digits")


def test_stems_are_tables(toml: Callable[[str], Path]) -> None:
    spec = find_spec(str(toml(LEAST + "[space]\nstems = [{widths = [4, 8], stride = 1, pool = false}]\n")))
    (stem,) = spec.space.stems
    assert (stem.widths, stem.stride, stem.pool) == ((4, 8), 1, False)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_a_study_says_what_trains(toml: Callable[[str], Path], device: str) -> None:
    spec = find_spec(str(toml(LEAST + f"[training]\ndevice = '{device}'\nepochs = 3\n")))
    assert (spec.trains_on, spec.recipe.epochs) == (device, 3)
    assert spec.to_json()["training"]["device"] == device
    assert find_spec(str(toml(LEAST))).trains_on == "auto"


def test_a_study_says_how_latency_is_taken(toml: Callable[[str], Path]) -> None:
    table = (
        "[latency]\ndevice = 'cuda:1'\nprecision = 'bf16'\nchannels_last = true\nround_runs = 30\ntolerance = 0.01\n"
    )
    spec = find_spec(str(toml(LEAST + table)))
    assert spec.protocol == Protocol(precision="bf16", channels_last=True, round_runs=30, tolerance=0.01)
    assert (spec.device, spec.runtimes) == ("cuda:1", ("torch-graph",))  # the device's first
    told = spec.to_json()["latency"]
    assert (told["precision"], told["channels_last"], told["tolerance"]) == ("bf16", True, 0.01)


# What is refused


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour = 1\n" + LEAST, "colour"),
        (LEAST + "[spaces]\n", "spaces"),
        (LEAST + "[space]\nlayer = [1]\n", "space.layer"),
        (LEAST + "[space]\nclasses = 10\n", "space.classes"),
        (LEAST + "[[space.stems]]\nwidth = [4, 8]\n", "space.stems.width"),
        (LEAST + "[limits]\nflops = 3\n", "limits.flops"),
        (LEAST + "[data]\nfolder = 'x'\n", "data.folder"),
        (LEAST + "[training]\nepoch = 3\n", "training.epoch"),
        (LEAST + "[training]\nname = 'fast'\n", "training.name"),
        (LEAST + "[latency]\nruntime = 'torch'\n", "latency.runtime"),
    ],
)
def test_an_unknown_key_is_named_with_its_file(toml: Callable[[str], Path], text: str, key: str) -> None:
    file = toml(text)
    said = refused(lambda: find_spec(str(file)))
    assert said.startswith(f"{file}: unknown key {key!r}; allowed are ")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("trials = 3\n", ["'name' is missing"]),
        ("name = 'mine'\n", ["'trials' is missing"]),
        ("name = 3\ntrials = 3\n", ["name = 3", "text"]),
        ("name = ''\ntrials = 3\n", ["name = ''", "letters, digits"]),
        ("name = '..'\ntrials = 3\n", ["name = '..'", "letters, digits"]),
        ("name = 'a/b'\ntrials = 3\n", ["name = 'a/b'", "letters, digits"]),
        ("name = 'mine'\ntrials = 3.5\n", ["trials = 3.5", "whole number"]),
        ("name = 'mine'\ntrials = true\n", ["trials = True", "whole number"]),
        ("name = 'mine'\ntrials = 0\n", ["trials = 0", "between 1 and"]),
        ("name = 'mine'\ntrials = 9\nbudget = 0\n", ["budget = 0", "above 0"]),
        ("name = 'mine'\ntrials = 9\nuntil_plateau = 1\n", ["until_plateau = 1", "true or false"]),
        ("seed = -1\n" + LEAST, ["seed = -1", "between 0 and"]),
        ("input_size = 0\n" + LEAST, ["input_size = 0", "between 1 and 1024"]),
        ("input_size = 9999\n" + LEAST, ["input_size = 9999", "between 1 and 1024"]),
        ("sampler = 'luck'\n" + LEAST, ["sampler = 'luck'", "tpe, gp, nsga2, random"]),
        ("space = 3\n" + LEAST, ["space = 3", "a table"]),
        (LEAST + "[space]\nbase = 'huge'\n", ["space.base = 'huge'", "default, small-images"]),
        (LEAST + "[space]\nbase = ['default']\n", ["space.base = ['default']", "default, small-images"]),
        (
            LEAST + "[space]\ngranularity = 'pixel'\n",
            ["space.granularity = 'pixel'", "network, block, schedule, layer"],
        ),
        (LEAST + "[space]\nlayers = [0, 1]\n", ["space.layers", "at least 1"]),
        (LEAST + "[space]\nlayers = [1, 65]\n", ["space.layers", "at most 64"]),
        (LEAST + "[space]\nlayers = []\n", ["space.layers = []", "one or more"]),
        (LEAST + "[space]\nlayers = [2, 1]\n", ["space.layers = [2, 1]", "ascending"]),
        (LEAST + "[space]\nlayers = [1, 1]\n", ["space.layers = [1, 1]", "different"]),
        (LEAST + "[space]\nlayers = 3\n", ["space.layers = 3", "list"]),
        (LEAST + "[space]\nlayers = [1.5]\n", ["space.layers", "1.5", "int values"]),
        (LEAST + "[space]\nlayers = [true]\n", ["space.layers", "True", "int values"]),
        (LEAST + "[space]\nblocks = [0]\n", ["space.blocks", "at least 1"]),
        (LEAST + "[space]\nthresholds = [0, 4]\n", ["space.thresholds = [0, 4]", "between 0 and 3"]),
        (LEAST + "[space]\nthresholds = [-1]\n", ["space.thresholds = [-1]", "between 0 and 3"]),
        (LEAST + "[space]\nunits = ['cell']\n", ["space.units", "'cell'", "'bottleneck' or 'conv'"]),
        (LEAST + "[space]\ngrowths = [0]\n", ["space.growths", "growth = 0", "1 to 8,192"]),
        (LEAST + "[space]\nmultipliers = [nan]\n", ["space.multipliers", "nan", "1 to 4"]),
        (LEAST + "[space]\nhead_dropouts = [1.0]\n", ["space.head_dropouts", "1.0", "below 1"]),
        (LEAST + "[space]\nstems = [3]\n", ["space.stems", "3", "table"]),
        (LEAST + "[space]\nstems = [{stride = 3}]\n", ["stem.stride = 3", "1 or 2"]),
        (LEAST + "[space]\nstems = [{widths = [1]}]\n", ["stem.widths = [1]", "a list of 2 values"]),
        (LEAST + "[limits]\nparams = 0\n", ["limits.params = 0", "above 0"]),
        (LEAST + "[limits]\nlatency_ms = '2ms'\n", ["limits.latency_ms = '2ms'", "above 0"]),
        (LEAST + "[data]\nname = 'imagenet'\n", ["'imagenet'", "cifar10, digits, folder, svhn"]),
        (LEAST + "[data]\nname = ['svhn']\n", ["data.name = ['svhn']", "text"]),
        (LEAST + "[data]\nname = 'folder'\n", ["data path", "'folder'", "ImageFolder"]),
        (LEAST + "[data]\npath = 3\n", ["data.path = 3", "text"]),
        (LEAST + "[data]\ntrain = 0\n", ["data train 0", "above 0"]),
        (LEAST + "[data]\nseed = -1\n", ["data seed -1"]),
        (LEAST + "[data]\nflip = 'yes'\n", ["data.flip = 'yes'", "true or false"]),
        (LEAST + "[data]\ncaveat = 3\n", ["data.caveat = 3", "text"]),
        (LEAST + "[training]\nrecipe = 'slow'\n", ["'slow'", "published, fast"]),
        (LEAST + "[training]\nrecipe = ['fast']\n", ["training.recipe = ['fast']", "text"]),
        (LEAST + "[training]\nepochs = '9'\n", ["training.epochs = '9'", "int"]),
        (LEAST + "[training]\nepochs = 0\n", ["training epochs = 0", "at least 1"]),
        (LEAST + "[training]\nbatch = 1\n", ["training batch = 1", "at least 2"]),
        (LEAST + "[training]\noptimiser = 'sgd'\n", ["training.optimiser = 'sgd'", "'adam' or 'adamw'"]),
        (LEAST + "[training]\nlearning_rate = nan\n", ["learning_rate = nan", "above 0"]),
        (LEAST + "[training]\nweight_decay = -0.1\n", ["weight_decay = -0.1", "0 or more"]),
        (LEAST + "[training]\nlabel_smoothing = 2\n", ["label_smoothing = 2", "0 to 1"]),
        (LEAST + "[training]\nshift = -1\n", ["shift = -1", "0 or more"]),
        (LEAST + "[latency]\ndevice = 'tpu'\n", ["latency.device: device 'tpu'", "must be cpu"]),
        (LEAST + "[latency]\ndevice = 3\n", ["latency.device = 3", "text"]),
        (LEAST + "[latency]\ndevice = 'cuda:x'\n", ["latency.device: device 'cuda:x'", "cuda:N"]),
        (LEAST + "[latency]\nprecision = 'int8'\n", ["precision = 'int8'", "fp32, fp16, bf16"]),
        (LEAST + "[latency]\nprecision = 16\n", ["precision = 16", "fp32, fp16, bf16"]),
        (LEAST + "[latency]\nprecision = ['fp16']\n", ["precision = ['fp16']", "fp32, fp16, bf16"]),
        (LEAST + "[latency]\nchannels_last = 1\n", ["latency.channels_last = 1", "true or false"]),
        (LEAST + "[latency]\nround_runs = 19\n", ["round_runs = 19", "from 20 to"]),
        (LEAST + "[latency]\ndiscard = 20\n", ["discard = 20", "below latency.round_runs = 20"]),
        (LEAST + "[latency]\ntolerance = -1\n", ["tolerance = -1", "from 0 to 1"]),
        (
            LEAST + "[latency]\nruntimes = ['torch-graph']\n",
            ["latency.runtimes = ['torch-graph']", "onnxruntime, torch"],
        ),
        (LEAST + "[latency]\nruntimes = ['torch', 'torch']\n", ["latency.runtimes", "each runtime once"]),
        (LEAST + "[training]\ndevice = 'gpu'\n", ["training.device = 'gpu'", "'auto', 'cpu', 'cuda' or 'cuda:N'"]),
        (LEAST + "[training]\ndevice = 'cuda:'\n", ["training.device = 'cuda:'", "'cuda:N'"]),
        (LEAST + "[training]\ndevice = 1\n", ["training.device = 1", "'auto', 'cpu', 'cuda' or 'cuda:N'"]),
        (LEAST + "[latency]\nruntimes = ['tf']\n", ["latency.runtimes = ['tf']", "onnxruntime, torch"]),
        (LEAST + "[latency]\nruntimes = 'torch'\n", ["latency.runtimes = 'torch'", "list"]),
        (LEAST + "[latency]\nruntimes = []\n", ["latency.runtimes = []", "onnxruntime, torch"]),
        (LEAST + "[latency]\nthreads = 'all'\n", ["latency.threads = 'all'", "number"]),
        (LEAST + "[latency]\nthreads = 0\n", ["threads = 0", "from 1 to 1,024"]),
        (LEAST + "[latency]\nmax_s = inf\n", ["max_s = inf", "seconds"]),
    ],
)
def test_a_wrong_value_is_named_with_its_file(toml: Callable[[str], Path], text: str, parts: list[str]) -> None:
    file = toml(text)
    said = refused(lambda: find_spec(str(file)))
    assert said.startswith(f"{file}: ")
    for part in parts:
        assert part in said


@pytest.mark.parametrize("content", [b"name = \n", b"\xff\xfe\x00", b"{}"])
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    assert refused(lambda: find_spec(str(file))).startswith(f"{file}: not a TOML file")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert refused(lambda: find_spec(str(gone))) == f"{gone}: no such file"
    gone.mkdir()
    assert f"{gone}: cannot be read" in refused(lambda: find_spec(str(gone)))


def test_an_unknown_name_lists_the_built_in_specs() -> None:
    said = refused(lambda: find_spec("cifar11"))
    assert "'cifar11'" in said
    assert ", ".join(file.stem for file in TOMLS) in said


def test_a_folder_does_not_hide_a_built_in_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_spec("digits").name == "digits"


def test_parsing_leaves_the_document_alone() -> None:
    document: dict[str, Any] = tomllib.loads(TOMLS[0].read_text())
    before = json.dumps(document)
    parse_spec(document)
    assert json.dumps(document) == before
