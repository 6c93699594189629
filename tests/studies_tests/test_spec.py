"""Study specs: round trips, and errors that name the file, the key and the value."""

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.box import AXES, Objective
from search.data import Contents, DataSettings
from search.datasets.named import DATASETS, MEMORY
from search.latency.protocol import Protocol
from search.samplers.named import SAMPLERS
from search.training.metrics import METRICS
from search.training.recipes import FAST, RECIPES, Recipe
from space import DEFAULT, SPACES, Limits, Space
from space.definition import Granularity
from studies.spec import BUILT_IN, StudySpec, find_spec, parse_spec, read_spec, stored_spec
from threshnet import InputError, StemSpec
from threshnet.errors import shown

TOMLS = sorted(BUILT_IN.glob("*.toml"))
MINIMAL = 'name = "mine"\ntrials = 3\n'


def error_of(call: Callable[[], object]) -> str:
    """Return the one-line error of a call."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "mine.toml"
        file.write_text(text)
        return file

    return write


# Round trips


@pytest.mark.parametrize("file", TOMLS, ids=lambda file: file.stem)
def test_built_in_specs_equal_their_files(file: Path) -> None:
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
def test_built_in_specs_survive_a_round_trip_through_json(file: Path) -> None:
    spec = read_spec(file)
    written = json.loads(json.dumps(spec.to_json()))
    resolved = replace(spec, rungs=spec.rungs_in_use)
    assert stored_spec(written, 10) == resolved
    if spec.dataset.memory is None:  # images in memory cannot stand in a study file
        assert parse_spec(written) == resolved
    assert parse_spec(written).to_json() == spec.to_json()


def test_every_key_but_the_name_has_a_default() -> None:
    spec = parse_spec({"name": "mine"})
    assert spec == StudySpec("mine")
    assert (spec.sampler, spec.trials, spec.named) == ("freeze_thaw", 30, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (1, 2, 4)),
        ({"recipe": replace(FAST, epochs=9)}, (1, 2, 4, 8)),
        ({"recipe": replace(FAST, epochs=6)}, (1, 2, 4)),
        ({"recipe": replace(FAST, epochs=1)}, ()),
        ({"rungs": ()}, ()),
        ({"rungs": (3,)}, (3,)),
        ({"sampler": "tpe"}, ()),
        ({"sampler": "tpe", "rungs": (3,)}, (3,)),
    ],
)
def test_rungs_are_the_powers_of_two_unless_given(changes: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert StudySpec("mine", **changes).rungs_in_use == expected


def test_a_study_stored_by_an_earlier_version_keeps_its_settings() -> None:
    """Earlier versions stored the sampler always, rungs only if there were any, and no named networks."""
    written = StudySpec("mine").to_json()
    del written["training"]["rungs"]
    assert stored_spec(written, 10).rungs_in_use == ()
    assert stored_spec(written | {"sampler": "tpe"}, 10).sampler == "tpe"


@pytest.mark.parametrize("objective", [None, {}, {"metric": "balanced_error"}])
def test_a_study_stored_by_an_earlier_version_keeps_its_box(objective: dict[str, str] | None) -> None:
    """Earlier versions had a linear box up to the chance level of equally frequent classes."""
    written = StudySpec("mine").to_json()
    del written["objective"]
    read = stored_spec(written if objective is None else written | {"objective": objective}, 4)
    assert (read.box, read.max_error, read.min_latency_ms) == ("linear", 75.0, None)
    assert read.metric == (objective or {}).get("metric", "error")
    assert stored_spec(read.to_json(), 4) == read


WIDTHS = st.integers(1, 8192)
# The lower edge of the box must be below the latency limit, and a linear box has none.
BOXES = st.one_of(
    st.fixed_dictionaries({"box": st.just("log"), "min_latency_ms": st.none() | st.floats(0.001, 0.09)}),
    st.fixed_dictionaries({"box": st.sampled_from(AXES)}),
)
SPECS = st.builds(
    StudySpec,
    name=st.text("abcXYZ019-_.", min_size=1, max_size=80).filter(lambda name: name[0] not in "-."),
    trials=st.integers(1, 1_000_000),
    budget=st.none() | st.floats(0.1, 1000.0),
    until_plateau=st.booleans(),
    about=st.text(),
    seed=st.integers(0, 2**31 - 1),
    sampler=st.sampled_from(sorted(SAMPLERS)),
    input_size=st.integers(3, 1024),
    space=st.builds(
        replace,
        st.sampled_from(list(SPACES.values())),
        name=st.sampled_from([*SPACES, "mine", "", "my space"]),
        granularity=st.sampled_from(get_args(Granularity)),
        layers=st.sets(st.integers(1, 64), min_size=1, max_size=4).map(sorted),
        multipliers=st.sets(st.floats(1, 4), min_size=1, max_size=4).map(sorted),
        stems=st.sets(st.builds(StemSpec, st.tuples(WIDTHS, WIDTHS)), min_size=1, max_size=3).map(tuple),
    ),
    limits=st.builds(Limits, params=st.none() | st.integers(1, 10**8), latency_ms=st.none() | st.floats(0.1, 100.0)),
    data=st.builds(
        DataSettings,
        name=st.sampled_from(sorted({*DATASETS} - {MEMORY})),
        path=st.sampled_from(["images", "/srv/images"]).map(Path),
        train=st.none() | st.integers(1, 50_000),
        validation=st.none() | st.integers(1, 50_000),
        seed=st.integers(0, 2**32 - 1),
    )
    | st.builds(DataSettings, name=st.just(MEMORY), memory=st.just(Contents(("a", "b"), (3, 8, 9), 9, 0, 4, "c0ffee"))),
    metric=st.sampled_from(sorted(METRICS)),
    max_error=st.none() | st.floats(0.1, 100.0),
    flip=st.none() | st.booleans(),
    caveat=st.text(),
    recipe=st.builds(
        replace, st.sampled_from(list(RECIPES.values())), epochs=st.integers(4, 300), learning_rate=st.floats(1e-5, 1)
    ),
    named=st.sampled_from([None, (), ("threshnet28", "mine.json", "timm/resnet18")]),
    rungs=st.sampled_from([(), (1,), (1, 3)]),
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


@given(st.builds(lambda spec, box: replace(spec, **box), SPECS, BOXES))
def test_every_spec_survives_a_round_trip_through_json(spec: StudySpec) -> None:
    written = json.loads(json.dumps(spec.to_json()))
    assert stored_spec(written, 10) == spec
    if spec.dataset.memory is None:  # images in memory cannot stand in a study file
        assert parse_spec(written) == spec


def test_a_table_overrides_values_of_its_base(toml: Callable[[str], Path]) -> None:
    text = (
        MINIMAL
        + '[space]\nbase = "small-images"\nlayers = [1, 2]\nmultipliers = [1]\n[training]\nrecipe = "published"\n'
    )
    spec = find_spec(str(toml(text + "learning_rate = 1\n[latency]\nmax_s = 2\n")))
    assert spec.space == replace(SPACES["small-images"], layers=(1, 2), multipliers=(1.0,))
    assert spec.recipe == replace(RECIPES["published"], learning_rate=1.0)
    assert spec.protocol == Protocol(max_s=2.0)
    assert spec.data == DataSettings("digits")


def test_stems_are_read_from_tables(toml: Callable[[str], Path]) -> None:
    spec = find_spec(str(toml(MINIMAL + "[space]\nstems = [{widths = [4, 8], stride = 1, pool = false}]\n")))
    (stem,) = spec.space.stems
    assert (stem.widths, stem.stride, stem.pool) == ((4, 8), 1, False)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_the_training_device_is_read(toml: Callable[[str], Path], device: str) -> None:
    spec = find_spec(str(toml(MINIMAL + f"[training]\ndevice = '{device}'\nepochs = 3\n")))
    assert (spec.trains_on, spec.recipe.epochs) == (device, 3)
    assert spec.to_json()["training"]["device"] == device
    assert find_spec(str(toml(MINIMAL))).trains_on == "auto"


def test_the_latency_protocol_is_read(toml: Callable[[str], Path]) -> None:
    table = (
        "[latency]\ndevice = 'cuda:1'\nprecision = 'bf16'\nchannels_last = true\nround_runs = 30\ntolerance = 0.01\n"
    )
    spec = find_spec(str(toml(MINIMAL + table)))
    assert spec.protocol == Protocol(precision="bf16", channels_last=True, round_runs=30, tolerance=0.01)
    assert (spec.device, spec.runtimes) == ("cuda:1", ("torch-graph",))  # the first runtime of the device
    stored = spec.to_json()["latency"]
    assert (stored["precision"], stored["channels_last"], stored["tolerance"]) == ("bf16", True, 0.01)


# Invalid input


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour = 1\n" + MINIMAL, "colour"),
        (MINIMAL + "[spaces]\n", "spaces"),
        (MINIMAL + "[space]\nlayer = [1]\n", "space.layer"),
        (MINIMAL + "[space]\nclasses = 10\n", "space.classes"),
        (MINIMAL + "[[space.stems]]\nwidth = [4, 8]\n", "space.stems[0].width"),
        (MINIMAL + "[limits]\nflops = 3\n", "limits.flops"),
        (MINIMAL + "[data]\nfolder = 'x'\n", "data.folder"),
        (MINIMAL + "[training]\nepoch = 3\n", "training.epoch"),
        (MINIMAL + "[training]\nname = 'fast'\n", "training.name"),
        (MINIMAL + "[latency]\nruntime = 'torch'\n", "latency.runtime"),
    ],
)
def test_an_unknown_key_is_reported_with_its_file(toml: Callable[[str], Path], text: str, key: str) -> None:
    file = toml(text)
    error = error_of(lambda: find_spec(str(file)))
    assert error.startswith(f"{file}: unknown key {key!r}; allowed are ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = 3\n", "key 'name' is missing"),
        ("space = 3\n" + MINIMAL, "space = 3: must be a table, [space]"),
        (MINIMAL + "[space]\nbase = 'huge'\n", "space.base = 'huge': must be one of default, small-images"),
        (MINIMAL + "[space]\nbase = ['default']\n", "space.base = ['default']: must be one of default, small-images"),
        (MINIMAL + "[space]\nstems = [3]\n", "space.stems[0] = 3: must be a table of keys"),
    ],
)
def test_an_invalid_document_is_reported_with_its_file(toml: Callable[[str], Path], text: str, message: str) -> None:
    file = toml(text)
    assert error_of(lambda: find_spec(str(file))) == f"{file}: {message}"


NAME_RULE = "must be at most 80 letters, digits, '-', '_' and '.', not '-' or '.' first"
DEVICES = "must be cpu, cuda, cuda:N or ssh://"
CPU_RUNTIMES = "must be a list of onnxruntime, torch, "
TRAINING_DEVICE = "must be 'auto', 'cpu', 'cuda' or 'cuda:N'"
POOLED = replace(DEFAULT, pools=(True,))


def rungs(*epochs: int) -> str:
    return f"training.rungs = {list(epochs)}: must be increasing epochs from 1 to below {FAST.epochs}"


def spec(**changes: Any) -> StudySpec:  # noqa: ANN401 - any value of any field
    """Make a minimal spec with changes."""
    values: dict[str, Any] = {"name": "mine", "trials": 3}
    return StudySpec(**values | changes)


def space(**changes: Any) -> Space:  # noqa: ANN401
    """Change the default space."""
    return replace(DEFAULT, **changes)


def limits(**values: Any) -> Limits:  # noqa: ANN401
    """Make limits of any values."""
    return Limits(**values)


def data(*values: Any, **others: Any) -> DataSettings:  # noqa: ANN401
    """Make data settings of any values."""
    return DataSettings(*values, **others)


def recipe(**changes: Any) -> Recipe:  # noqa: ANN401
    """Change the default recipe."""
    return replace(FAST, **changes)


def protocol(**values: Any) -> Protocol:  # noqa: ANN401
    """Make a protocol of any values."""
    return Protocol(**values)


# By table: lines of a study file, the equivalent call in Python, and the start of the error.
WRONG: dict[str, list[tuple[str, Callable[[], object], str]]] = {
    "": [
        *(
            (
                f"name = {json.dumps(name)}",
                lambda name=name: spec(name=name),
                f"name = {shown(name)}: {NAME_RULE}",
            )
            for name in ("", "..", ".a", "-n5", "a/b", "../../x", "my study", "a:b", "x" * 81, "a\n", "~")
        ),
        ("name = 3", lambda: spec(name=3), "name = 3: must be text"),
        *(
            (
                f"trials = {json.dumps(value)}",
                lambda value=value: spec(trials=value),
                f"trials = {value!r}: must be a whole ",
            )
            for value in (0, -1, 3.5, True, 1_000_001, "3", [3])
        ),
        *(
            (
                f"budget = {value}",
                lambda value=value: spec(budget=value),
                f"budget = {value!r}: must be a number of full ",
            )
            for value in (0, -1.5)
        ),
        (
            "budget = nan",
            lambda: spec(budget=math.nan),
            "budget = nan: must be a finite number of full trainings above 0",
        ),
        (
            "budget = inf",
            lambda: spec(budget=math.inf),
            "budget = inf: must be a finite number of full trainings above 0",
        ),
        ("budget = true", lambda: spec(budget=True), "budget = True: must be a number of full trainings above 0"),
        ("until_plateau = 1", lambda: spec(until_plateau=1), "until_plateau = 1: must be true or false"),
        ("about = 1", lambda: spec(about=1), "about = 1: must be text"),
        ("seed = -1", lambda: spec(seed=-1), "seed = -1: must be a whole number from 0 to 2,147,483,647"),
        ("seed = 2147483648", lambda: spec(seed=2**31), "seed = 2147483648: must be a whole number from 0 to "),
        ("seed = 1.0", lambda: spec(seed=1.0), "seed = 1.0: must be a whole number from 0 to "),
        ("sampler = 'luck'", lambda: spec(sampler="luck"), f"sampler = 'luck': must be one of {', '.join(SAMPLERS)}"),
        ("sampler = ['tpe']", lambda: spec(sampler=["tpe"]), "sampler = ['tpe']: must be one of "),
        *(
            (
                f"input_size = {value}",
                lambda value=value: spec(input_size=value),
                f"input_size = {value}: must be a whole ",
            )
            for value in (0, 9999, 32.0)
        ),
        (
            "input_size = 2",
            lambda: spec(input_size=2),
            "input_size = 2: must be at least 3, as the reference network of all latencies pools a smaller input to "
            "nothing",
        ),
        (
            "input_size = 60\nspace.pools = [true]",
            lambda: spec(input_size=60, space=POOLED),
            "input_size = 60: must be at least 61, as every network of the space pools a smaller input to nothing",
        ),
    ],
    "space": [
        (
            "granularity = 'pixel'",
            lambda: space(granularity="pixel"),
            "space.granularity = 'pixel': must be one of network, block, schedule, layer",
        ),
        ("name = 3", lambda: space(name=3), "space.name = 3: must be text"),
        *(
            (f"layers = {json.dumps(value)}", lambda value=value: space(layers=value), f"space.layers{message}")
            for value, message in (
                ([0, 1], "[0] = 0: must be a whole number from 1 to 64"),
                ([1, 65], "[1] = 65: must be a whole number from 1 to 64"),
                ([1.5], "[0] = 1.5: must be a whole number from 1 to 64"),
                ([True], "[0] = True: must be a whole number from 1 to 64"),
                ([], " = []: must be a list of one or more different values"),
                ([1, 1], " = [1, 1]: must be a list of one or more different values"),
                ([2, 1], " = [2, 1]: must be in ascending order"),
                (3, " = 3: must be a list"),
                ("1", " = '1': must be a list"),
            )
        ),
        (
            "blocks = [0]",
            lambda: space(blocks=(0,)),
            "space.blocks[0] = 0: must be a whole number from 1 to 64",
        ),
        (
            "thresholds = [0, 4]",
            lambda: space(thresholds=(0, 4)),
            "space.thresholds[1] = 4: must be a whole ",
        ),
        (
            "units = ['cell']",
            lambda: space(units=("cell",)),
            "space.units[0] = 'cell': must be one of bottleneck",
        ),
        (
            "growths = [0]",
            lambda: space(growths=(0,)),
            "space.growths[0] = 0: must be a whole number from 1 to ",
        ),
        (
            "multipliers = [nan]",
            lambda: space(multipliers=(math.nan,)),
            "space.multipliers[0] = nan: must be a finite number from 1 to 4",
        ),
        (
            "head_dropouts = [1.0]",
            lambda: space(head_dropouts=(1.0,)),
            "space.head_dropouts[0] = 1.0: must be a number from 0 to below 1",
        ),
        ("pools = [0]", lambda: space(pools=(0,)), "space.pools[0] = 0: must be true or false"),
    ],
    "limits": [
        *(
            (
                f"{key} = {value!r}",
                lambda key=key, value=value: limits(**{key: value}),
                f"limits.{key} = {value!r}: must be a ",
            )
            for key in ("params", "macs", "memory_bytes", "latency_ms")
            for value in (0, -1.0, math.nan, math.inf, "2ms", [1])
        ),
        ("params = true", lambda: limits(params=True), "limits.params = True: must be a number above 0"),
    ],
    "data": [
        (
            "name = 'imagenet'",
            lambda: data("imagenet"),
            f"data.name = 'imagenet': must be one of {', '.join(DATASETS)}",
        ),
        ("name = ['svhn']", lambda: data(["svhn"]), "data.name = ['svhn']: must be one of "),
        (
            "name = 'folder'",
            lambda: data("folder"),
            "data.path = None: must be the folder of images, which the ",
        ),
        ("path = 3", lambda: data("digits", 3), "data.path = 3: must be a path"),
        (
            "train = 0",
            lambda: data("digits", train=0),
            "data.train = 0: must be a whole number of images, at least 1",
        ),
        (
            "validation = 1.5",
            lambda: data("digits", validation=1.5),
            "data.validation = 1.5: must be a whole number ",
        ),
        ("seed = -1", lambda: data("digits", seed=-1), "data.seed = -1: must be a whole number from 0 to "),
        ("flip = 'yes'", lambda: spec(flip="yes"), "data.flip = 'yes': must be true or false"),
        ("caveat = 3", lambda: spec(caveat=3), "data.caveat = 3: must be text"),
    ],
    "objective": [
        ("box = 'cubic'", lambda: spec(box="cubic"), "objective.box = 'cubic': must be one of log, linear"),
        ("box = true", lambda: spec(box=True), "objective.box = True: must be one of log, linear"),
        *(
            (
                f"max_error = {value}",
                lambda value=value: spec(max_error=value),
                f"objective.max_error = {value}: must be a number above 0, at most 100",
            )
            for value in (0, 101, -1.5)
        ),
        (
            "max_error = nan",
            lambda: spec(max_error=math.nan),
            "objective.max_error = nan: must be a finite number above 0, at most 100",
        ),
        (
            "min_latency_ms = 0",
            lambda: spec(min_latency_ms=0),
            "objective.min_latency_ms = 0: must be a number above 0",
        ),
        *(
            (
                f"min_latency_ms = {value}\n[limits]\nlatency_ms = 2.5",
                lambda value=value: spec(min_latency_ms=value, limits=Limits(latency_ms=2.5)),
                f"objective.min_latency_ms = {value}: must be below limits.latency_ms = 2.5",
            )
            for value in (2.5, 3.0)
        ),
        (
            "min_latency_ms = 0.5\nbox = 'linear'",
            lambda: spec(min_latency_ms=0.5, box="linear"),
            "objective.min_latency_ms = 0.5: must be left out with box = 'linear', which begins at 0 ms",
        ),
    ],
    "training": [
        (
            "recipe = 'slow'",
            lambda: spec(recipe=recipe(name="slow")),
            "training.recipe = 'slow': must be one of published, fast",
        ),
        ("recipe = ['fast']", lambda: recipe(name=["fast"]), "training.recipe = ['fast']: must be text"),
        (
            "epochs = '9'",
            lambda: recipe(epochs="9"),
            "training.epochs = '9': must be a whole number, at least 1",
        ),
        ("epochs = 0", lambda: recipe(epochs=0), "training.epochs = 0: must be a whole number, at least 1"),
        ("batch = 1", lambda: recipe(batch=1), "training.batch = 1: must be a whole number, at least 2"),
        (
            "optimiser = 'sgd'",
            lambda: recipe(optimiser="sgd"),
            "training.optimiser = 'sgd': must be one of adam, adamw",
        ),
        (
            "learning_rate = nan",
            lambda: recipe(learning_rate=math.nan),
            "training.learning_rate = nan: must be a finite ",
        ),
        (
            "weight_decay = -0.1",
            lambda: recipe(weight_decay=-0.1),
            "training.weight_decay = -0.1: must be a number, at ",
        ),
        (
            "label_smoothing = 2",
            lambda: recipe(label_smoothing=2),
            "training.label_smoothing = 2: must be a number from 0 ",
        ),
        (
            "shift = -1",
            lambda: recipe(shift=-1),
            "training.shift = -1: must be a whole number of pixels, at least 0",
        ),
        ("mixed = 1", lambda: recipe(mixed=1), "training.mixed = 1: must be true or false"),
        ("device = 'gpu'", lambda: spec(trains_on="gpu"), f"training.device = 'gpu': {TRAINING_DEVICE}"),
        ("device = 'cuda:'", lambda: spec(trains_on="cuda:"), f"training.device = 'cuda:': {TRAINING_DEVICE}"),
        ("device = 1", lambda: spec(trains_on=1), "training.device = 1: must be text"),
        *(
            (f"rungs = {list(value)}", lambda value=value: spec(rungs=value), rungs(*value))
            for value in ((9, 3), (3, 3), (0, 3), (8,), (-1,), (3, 9))
        ),
        ("rungs = 3", lambda: spec(rungs=3), "training.rungs = 3: must be a list"),
        ("rungs = [1.5]", lambda: spec(rungs=(1.5,)), "training.rungs[0] = 1.5: must be a whole number"),
        ("rungs = [true]", lambda: spec(rungs=[True]), "training.rungs[0] = True: must be a whole number"),
    ],
    "latency": [
        ("device = 'tpu'", lambda: spec(device="tpu"), f"latency.device: device 'tpu': {DEVICES}"),
        ("device = 3", lambda: spec(device=3), "latency.device = 3: must be text"),
        ("device = 'cuda:x'", lambda: spec(device="cuda:x"), "latency.device: device 'cuda:x': must be cuda or cuda:N"),
        ("device = 'ssh://'", lambda: spec(device="ssh://"), "latency.device: device 'ssh://': must be ssh://"),
        ("runtimes = []", lambda: spec(runtimes=()), f"latency.runtimes = []: {CPU_RUNTIMES}"),
        ("runtimes = ['tf']", lambda: spec(runtimes=("tf",)), f"latency.runtimes = ['tf']: {CPU_RUNTIMES}"),
        (
            "runtimes = ['torch-graph']",
            lambda: spec(runtimes=["torch-graph"]),
            f"latency.runtimes = ['torch-graph']: {CPU_RUNTIMES}",
        ),
        ("runtimes = 'torch'", lambda: spec(runtimes="torch"), "latency.runtimes = 'torch': must be a list"),
        ("runtimes = [1]", lambda: spec(runtimes=[1]), "latency.runtimes[0] = 1: must be text"),
        (
            "runtimes = ['torch', 'torch']",
            lambda: spec(runtimes=("torch", "torch")),
            "latency.runtimes = ['torch', 'torch']: must be a list that names each runtime once",
        ),
        (
            "device = 'ssh://pi'\nruntimes = ['torch']",
            lambda: spec(device="ssh://pi", runtimes=("torch",)),
            "latency.runtimes = ['torch']: must be a list of onnxruntime",
        ),
        (
            "precision = 'int8'",
            lambda: protocol(precision="int8"),
            "latency.precision = 'int8': must be one of fp32, fp16, bf16",
        ),
        ("precision = ['fp16']", lambda: protocol(precision=["fp16"]), "latency.precision = ['fp16']: must be one of "),
        ("channels_last = 1", lambda: protocol(channels_last=1), "latency.channels_last = 1: must be true or false"),
        (
            "threads = 'all'",
            lambda: protocol(threads="all"),
            "latency.threads = 'all': must be a whole number from 1 to 1,024",
        ),
        ("threads = 0", lambda: protocol(threads=0), "latency.threads = 0: must be a whole number from 1 to 1,024"),
        (
            "round_runs = 19",
            lambda: protocol(round_runs=19),
            "latency.round_runs = 19: must be a whole number from 20 to ",
        ),
        ("discard = 20", lambda: protocol(discard=20), "latency.discard = 20: must be below latency.round_runs = 20"),
        ("tolerance = -1", lambda: protocol(tolerance=-1), "latency.tolerance = -1: must be a number from 0 to 1"),
        (
            "max_s = inf",
            lambda: protocol(max_s=math.inf),
            "latency.max_s = inf: must be a finite number of seconds from 0 to ",
        ),
    ],
}
CASES = [(table, *case) for table, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(
    ("table", "text", "make", "message"), CASES, ids=[f"{table} {text}".strip()[:60] for table, text, *_ in CASES]
)
def test_an_invalid_value_has_the_same_error_in_a_file_and_in_python(
    toml: Callable[[str], Path], table: str, text: str, make: Callable[[], object], message: str
) -> None:
    error = error_of(make)
    assert error.startswith(message)
    key = text.partition(" ")[0]
    minimal = (
        "".join(line for line in MINIMAL.splitlines(keepends=True) if not line.startswith(f"{key} "))
        if not table
        else MINIMAL
    )
    file = toml(f"{minimal}[{table}]\n{text}\n" if table else f"{text}\n{minimal}")
    assert error_of(lambda: find_spec(str(file))) == f"{file}: {error}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "default"}, "space = 'default': must be of type Space"),
        ({"limits": 3}, "limits = 3: must be of type Limits"),
        (
            {"data": 3},
            "data = 3: must be (images, labels), a torch Dataset, ImageData, a folder or one of digits, noisy_digits, "
            "cifar10, svhn",
        ),
        ({"recipe": "fast"}, "recipe = 'fast': must be of type Recipe"),
        ({"protocol": None}, "protocol = None: must be of type Protocol"),
    ],
)
def test_a_record_of_another_type_is_rejected(changes: dict[str, Any], message: str) -> None:
    assert error_of(lambda: spec(**changes)) == message


def test_unambiguous_values_are_converted() -> None:
    converted = spec(rungs=[2, 4], runtimes=["torch"], budget=3, data=data("folder", "odd"))
    assert (converted.rungs, converted.runtimes, converted.budget, converted.dataset.path) == (
        (2, 4),
        ("torch",),
        3.0,
        Path("odd"),
    )
    assert converted == spec(rungs=(2, 4), runtimes=("torch",), budget=3.0, data=DataSettings("folder", Path("odd")))


@pytest.mark.parametrize("content", [b"name = \n", b"\xff\xfe\x00", b"{}"])
def test_a_file_that_is_not_toml_is_reported(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    assert error_of(lambda: find_spec(str(file))).startswith(f"{file}: not a TOML file")


def test_a_folder_of_images_without_a_name_of_a_data_set_is_reported() -> None:
    message = error_of(lambda: parse_spec({"name": "mine", "data": {"path": "imgs"}}))
    assert message == "data.path = 'imgs': needs data.name, e.g. name = \"folder\""


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert error_of(lambda: find_spec(str(gone))) == f"{gone}: no such file"
    gone.mkdir()
    assert f"{gone}: cannot be read" in error_of(lambda: find_spec(str(gone)))


def test_an_unknown_name_lists_the_built_in_specs() -> None:
    error = error_of(lambda: find_spec("cifar11"))
    assert "'cifar11'" in error
    assert ", ".join(file.stem for file in TOMLS) in error


def test_a_folder_does_not_hide_a_built_in_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_spec("digits").name == "digits"


def test_parsing_does_not_change_the_document() -> None:
    document: dict[str, Any] = tomllib.loads(TOMLS[0].read_text())
    before = json.dumps(document)
    parse_spec(document)
    assert json.dumps(document) == before


def test_the_metric_is_a_key_of_the_objective(toml: Callable[[str], Path]) -> None:
    text = 'name = "test"\ntrials = 1\n[objective]\n'
    assert read_spec(toml(text + 'metric = "balanced_error"')).metric == "balanced_error"
    assert read_spec(toml(text)).metric == "error"
    assert "metric" not in read_spec(toml(text)).to_json()["objective"]  # as in studies of earlier versions
    with pytest.raises(InputError, match=r"objective.metric = 'f1': must be one of error, balanced_error"):
        read_spec(toml(text + 'metric = "f1"'))
    with pytest.raises(InputError, match=r"unknown key 'objective.metrics'; allowed are metric, box, "):
        read_spec(toml(text + 'metrics = "error"'))


def test_the_box_is_read(toml: Callable[[str], Path]) -> None:
    text = 'name = "test"\n[objective]\n'
    plain = read_spec(toml(text)).objective
    assert plain == Objective("error", "log", None, None)
    given = read_spec(toml(text + "max_error = 40\nmin_latency_ms = 0.1\n[limits]\nlatency_ms = 2\n")).objective
    assert given == Objective("error", "log", 40.0, 0.1)
    linear = read_spec(toml(text + 'box = "linear"\nmetric = "balanced_error"\n')).objective
    assert linear == Objective("balanced_error", "linear", None, None)
