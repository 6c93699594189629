"""A sampler, a data set, a device, a recipe, a block unit: each is one entry, and everything else knows it.

The entries are in toys.py, the code that they name in the files next to it; the documentation shows both.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
from extension_tests.toys import TOYS
from search_tests.contract import CONTRACT
from search_tests.tiny import NETWORK, SPACE

import docs.generate
from search.data import DataSettings, load_search, load_test
from search.datasets.named import DATASETS
from search.latency.devices.device import Device
from search.latency.devices.named import DEVICES, device_named
from search.samplers.named import SAMPLERS
from search.training.recipes import RECIPES
from space import Space, decode, encode, size
from studies import cli
from studies.spec import parse_spec
from threshnet.baselines import Architecture
from threshnet.costs import count
from threshnet.counting import count_library_model
from threshnet.drawing import schedule_svg
from threshnet.errors import InputError
from threshnet.network import build
from threshnet.recover.templates import TEMPLATES
from threshnet.shapes import walk
from threshnet.spec import BlockSpec, NetworkSpec
from threshnet.units import UNITS

TESTS = Path(__file__).resolve().parents[1]
STUDY = """
name = "toys"
trials = 2
sampler = "smallest"
input_size = 16
[space]
stems = [{widths = [4, 8], stride = 2, pool = false}]
activations = ["relu"]
blocks = [1]
layers = [1, 2, 3]
units = ["squeeze"]
bottleneck_widths = [4, 8]
multipliers = [1.0]
outputs = ["all"]
growths = [2, 4, 6]
transitions = [4, 6]
pools = [false]
block_dropouts = [0.0]
head_dropouts = [0.0]
[data]
name = "stripes"
[training]
recipe = "brief"
[latency]
device = "npu"
warmup_s = 0.0
min_s = 0.0
max_s = 0.0
retakes = 0
"""


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry of each kind; new processes find the code that the entries name."""
    for table, toy in TOYS:
        for name, entry in toy.items():
            monkeypatch.setitem(table, name, entry)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])))


@pytest.fixture(autouse=True)
def quick_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure files of the right size instead of ONNX exports: the toy device looks no further."""

    def write(network: Architecture, input_size: int, path: Path, batch: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(network, NetworkSpec):
            costs = count(network, input_size)
        else:
            costs = count_library_model(network, input_size)
        path.write_bytes(bytes(4 * costs.params))

    monkeypatch.setattr("search.latency.onnx_files._export", write)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # not to be found by other tests


@pytest.fixture
def squeezed(toys: None) -> NetworkSpec:
    """A network of toy units."""
    return replace(NETWORK, blocks=(replace(NETWORK.blocks[0], unit="squeeze", bottleneck_width=4),))


@pytest.fixture
def mixed(toys: None) -> Space:
    """A space whose blocks are of toy units or of others."""
    return replace(SPACE, units=("squeeze", "conv"), bottleneck_widths=(4, 8), growths=(2, 4), transitions=(4,))


@pytest.fixture
def run(
    squeezed: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a `threshnet` command in an empty folder and return what it prints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys.toml").write_text(STUDY)
    (tmp_path / "squeezed.json").write_text(json.dumps(squeezed.to_json()))
    (tmp_path / "plain.json").write_text(json.dumps(NETWORK.to_json()))

    def run(command: str) -> str:
        monkeypatch.setattr(sys, "argv", ["threshnet", *command.split()])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        assert stop.value.code == 0, printed.err
        return printed.out

    return run


def test_a_study_of_toys_is_launched_resumed_looked_at_and_exported(run: Callable[..., str], tmp_path: Path) -> None:
    storage = "--storage journal:toys.log --json"
    assert json.loads(run(f"launch toys.toml {storage}"))["trained"] == 2
    assert json.loads(run(f"launch toys.toml --trials 3 {storage}"))["trained"] == 3
    front = json.loads(run(f"pareto toys --csv trials.csv {storage}"))
    assert front["caveat"] == "generated images"
    assert "npu onnxruntime" in (tmp_path / "trials.csv").read_text()
    run(f"export toys --knee --recipe brief --device npu -o model {storage}")
    config, card = (tmp_path / "model" / "config.json").read_text(), (tmp_path / "model" / "README.md").read_text()
    for name in ("squeeze", "brief", "npu", "stripes", "horizontal"):
        assert name in config + card, name
    assert "BAD" not in run("check model")
    images = {"images": torch.zeros(3, 3, 16, 16, dtype=torch.uint8)}
    torch.save(images, tmp_path / "images.pt")
    program = [sys.executable, "model/model.py", "images.pt"]
    alone = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, env={}, check=True)
    assert len(alone.stdout.split()) == 3


# Help, errors and documentation


def test_help_lists_every_toy() -> None:
    commands = ("launch", "train", "export", "measure", "compare", "remeasure", "device check")
    program = (
        "import json, sys\n"
        "from extension_tests.toys import add\n"
        "add()\n"  # as if the entries stood in the files
        "from click.testing import CliRunner\n"
        "from studies.cli import cli\n"
        "print(json.dumps([CliRunner().invoke(cli, [*name.split(), '--help']).output for name in sys.argv[1:]]))\n"
        "assert not {'torch', 'numpy', 'optuna'} & sys.modules.keys()\n"
    )
    arguments = [sys.executable, "-c", program, *commands]
    done = subprocess.run(arguments, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    helps = dict(zip(commands, json.loads(done.stdout), strict=True))
    for name in ("smallest", "stripes", "npu", "brief", "squeeze"):
        assert re.search(rf"\b{name}\b", helps["launch"]), name
    for command in ("train", "export"):
        assert re.search(r"\bstripes\b.*\bbrief\b|\bbrief\b.*\bstripes\b", helps[command], re.DOTALL), command
    for command in commands[1:]:
        assert re.search(r"\bnpu\b", helps[command]), command


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("sampler", "smallest", SAMPLERS),
        ("data.name", "stripes", DATASETS),
        ("training.recipe", "brief", RECIPES),
        ("latency.device", "npu", DEVICES),
        ("space.units", "squeeze", UNITS),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_toy(key: str, value: str, names: dict[str, object]) -> None:
    table, _, last = key.rpartition(".")
    document: dict[str, object] = {"name": "toys", "trials": 1}
    wrong = ["nonsense"] if key == "space.units" else "nonsense"
    document |= {table: {last: wrong}} if table else {last: wrong}
    with pytest.raises(InputError, match="nonsense") as error:
        parse_spec(document)
    assert value in str(error.value)
    assert all(name in str(error.value) for name in names)


def test_the_documentation_lists_every_toy() -> None:
    pages = docs.generate.pages()
    for page, name in (
        ("samplers", "smallest"),
        ("data_sets", "stripes"),
        ("devices", "npu"),
        ("recipes", "brief"),
        ("units", "squeeze"),
    ):
        assert f"| `{name}`" in pages[f"{page}.inc"], page
    assert '`"squeeze"`' in pages["keys_space.inc"]


@pytest.mark.parametrize(
    "path",
    [each.factory for each in SAMPLERS.values()]
    + [each.reader for each in DATASETS.values()]
    + [each.parser for each in DEVICES.values()],
)
def test_every_entry_names_something_that_exists(path: str) -> None:
    assert callable(resolve_name(path))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_has_the_name_of_its_entry(name: str) -> None:
    assert RECIPES[name].name == name


# Data set


def test_a_toy_data_set_is_split_and_loaded() -> None:
    settings = DataSettings("stripes", validation=20)
    data = load_search(settings, 12)
    assert (data.classes, data.flip, data.caveat) == (("horizontal", "vertical"), True, "generated images")
    assert (len(data.train), len(data.validation), len(load_test(settings, 12))) == (60, 20, 20)


# Device


def test_a_toy_device_measures_and_compares(run: Callable[..., str]) -> None:
    quick = "--device npu --input 16 --json"
    assert json.loads(run(f"measure squeezed.json {quick} --max-s 0"))["device"] == "npu"
    (pair,) = json.loads(run(f"compare squeezed.json plain.json {quick}"))["pairs"]
    assert pair["verdict"] in ("FASTER", "SLOWER", "SAME")
    assert json.loads(run("device check npu --json"))["fit"]


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_a_toy_device_keeps_the_contract(check: Callable[[Device, str], None]) -> None:
    check(device_named("npu"), "onnxruntime")


# Unit


def test_a_toy_unit_is_walked_counted_built_and_drawn(squeezed: NetworkSpec) -> None:
    names = [row.name.removeprefix("block1_layer1_") for row in walk(squeezed, 16) if row.layer == 1]
    assert names == ["conv1", "norm1", "act1", "conv2", "norm2", "act2"]
    model = build(squeezed).eval()
    assert count(squeezed, 16).params == sum(each.numel() for each in model.parameters())
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 2)
    assert "squeeze\N{NO-BREAK SPACE}4" in schedule_svg(squeezed, 16, "a toy")
    assert not any(template.contains(squeezed) for template in TEMPLATES.values())
    assert NetworkSpec.from_json(squeezed.to_json()) == squeezed


def test_a_space_with_a_toy_unit_has_the_size_of_its_networks(mixed: Space) -> None:
    choices = mixed.distributions()
    points = [dict(zip(choices, codes, strict=True)) for codes in product(*(each_code(mixed, n) for n in choices))]
    networks = [decode(mixed, point) for point in points]
    assert {decode(mixed, encode(mixed, network)) for network in networks} == set(networks)
    assert (len(points), len({each.fingerprint() for each in networks})) == (size(mixed).points, size(mixed).networks)


def each_code(space: Space, name: str) -> range:
    """The integers of a parameter."""
    distribution = space.distributions()[name]
    return range(distribution.low, distribution.high + 1)


def test_a_unit_that_is_not_there_is_an_error_everywhere(
    squeezed: NetworkSpec, mixed: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(UNITS, "squeeze")
    uses: tuple[Callable[[], object], ...] = (
        lambda: BlockSpec(links=((0,),), growth=1, transition=1, unit="squeeze", bottleneck_width=1),
        lambda: replace(SPACE, units=("squeeze",)),
        lambda: NetworkSpec.from_json(squeezed.to_json()),
        lambda: walk(squeezed, 16),
        lambda: count(squeezed, 16),
        lambda: build(squeezed),
        lambda: schedule_svg(squeezed, 16, "a toy"),
        lambda: size(mixed),
        lambda: encode(mixed, squeezed),
        lambda: [template.contains(squeezed) for template in TEMPLATES.values()],
    )
    for use in uses:
        with pytest.raises(InputError, match=r"'squeeze'.*must be one of bottleneck, conv"):
            use()
