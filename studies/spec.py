"""Study specs: read from TOML, validated key by key, and stored in the study they describe."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from search.data import DataSettings
from search.latency.devices.named import device_named
from search.latency.protocol import Protocol
from search.samplers.named import SAMPLERS
from search.samplers.successive_halving import check_rungs
from search.training.recipes import FAST, RECIPES, Recipe
from space import DEFAULT, SPACES, Limits, Space
from space.definition import CHOICES
from threshnet import strict
from threshnet.bounds import MAX_INPUT
from threshnet.errors import InputError
from threshnet.strict import Key, OneOf, Range, require

BUILT_IN = Path(__file__).parent / "builtin"
# Names of a study: folders and commands are made of them.
NAME = r"[\w][\w.-]{0,79}"


@dataclass(frozen=True)
class StudySpec:
    """The settings of a study. All its launches must agree on them, except on `trials` and the path of the data."""

    # Name of the study in its storage: at most 80 letters, digits, '-', '_' and '.', not '-' or '.' first.
    name: str
    # Number of trained (or failed) networks at which the study ends, named networks included.
    trials: Annotated[int, Range(1, 1_000_000)]
    # Search cost at which the study ends, in full trainings: the training images that so many complete trainings
    # process. Without it there is no such end.
    budget: Annotated[float, Range(above=0, unit="full trainings")] | None = None
    # Whether the study ends as soon as its front has plateaued.
    until_plateau: bool = False
    # One sentence on what the study is for.
    about: str = ""
    # Seed of the sampler, the initial weights and the order of the images.
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    # Name of the sampler that proposes networks.
    sampler: Annotated[str, OneOf(SAMPLERS)] = "tpe"
    # Height and width of the images, pixels.
    input_size: Annotated[int, Range(1, MAX_INPUT, unit="pixels")] = 32
    space: Space = DEFAULT
    limits: Limits = field(default_factory=Limits)
    data: DataSettings = field(default_factory=lambda: DataSettings("digits"))
    # Whether training may flip images horizontally. Without it the data set decides.
    flip: Annotated[bool | None, Key("data.flip")] = None
    # Note shown with every reported number of the study.
    caveat: Annotated[str, Key("data.caveat")] = ""
    recipe: Recipe = FAST
    # Epochs after which a training is scored and may be stopped, rising and below `epochs`. Empty: every training runs
    # to its end.
    rungs: Annotated[tuple[int, ...], Key("training.rungs")] = ()
    # Device that trains: "cpu", "cuda", "cuda:N", or "auto" for a GPU if there is one.
    trains_on: Annotated[str, Key("training.device")] = "auto"
    # Device on which latency is measured.
    device: Annotated[str, Key("latency.device")] = "cpu"
    # Runtimes through which it is measured; the first one is the objective.
    runtimes: Annotated[tuple[str, ...], Key("latency.runtimes")] = ("onnxruntime",)
    protocol: Protocol = field(default_factory=Protocol)

    def __post_init__(self) -> None:
        strict.check(self)
        allowed = "at most 80 letters, digits, '-', '_' and '.', not '-' or '.' first"
        require(re.fullmatch(NAME, self.name) is not None, "name", self.name, allowed)
        least = self.space.smallest_input
        smallest = f"at least {least}, the smallest input that any network of the space can take"
        require(self.input_size >= least, "input_size", self.input_size, smallest)
        require(self.recipe.name in RECIPES, "training.recipe", self.recipe.name, f"one of {', '.join(RECIPES)}")
        check_rungs(self.rungs, self.recipe.epochs)
        trains = re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.trains_on) is not None
        require(trains, "training.device", self.trains_on, "'auto', 'cpu', 'cuda' or 'cuda:N'")
        there = _runtimes_of(self.device)
        some = bool(self.runtimes) and all(runtime in there for runtime in self.runtimes)
        require(some, "latency.runtimes", self.runtimes, f"a list of {', '.join(there)}")
        once = len(set(self.runtimes)) == len(self.runtimes)
        require(once, "latency.runtimes", self.runtimes, "a list that names each runtime once")

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON-ready values, in the layout of the TOML file."""
        space = asdict(self.space)
        data = asdict(self.data)
        return {
            "name": self.name,
            "about": self.about,
            "trials": self.trials,
            **({} if self.budget is None else {"budget": self.budget}),
            **({"until_plateau": True} if self.until_plateau else {}),
            "seed": self.seed,
            "sampler": self.sampler,
            "input_size": self.input_size,
            "space": {("base" if self.space.name in SPACES else "name"): self.space.name}
            | {key: _plain(space[key]) for key in ("granularity", *CHOICES)},
            "limits": {key: value for key, value in asdict(self.limits).items() if value is not None},
            "data": {key: _plain(value) for key, value in data.items() if value is not None}
            | ({} if self.flip is None else {"flip": self.flip})
            | ({"caveat": self.caveat} if self.caveat else {}),
            "training": {("recipe" if key == "name" else key): value for key, value in asdict(self.recipe).items()}
            | {"device": self.trains_on}
            | ({"rungs": list(self.rungs)} if self.rungs else {}),
            "latency": {"device": self.device, "runtimes": list(self.runtimes), **self.protocol.to_json()},
        }


def find_spec(name: str) -> StudySpec:
    """The study spec in the TOML file `name`, or the built-in one of that name; raises InputError if neither exists."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return read_spec(path)
    built_in = BUILT_IN / f"{name}.toml"
    if not built_in.is_file():
        names = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.toml")))
        raise InputError(f"no study spec {name!r}: neither a TOML file nor a built-in one ({names})")
    return read_spec(built_in)


def read_spec(path: Path) -> StudySpec:
    """The study spec in a TOML file. Raises InputError, which names the file and the wrong key."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    try:
        return parse_spec(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_spec(document: Mapping[str, Any]) -> StudySpec:
    """The study spec in a TOML or JSON document. Raises InputError, which names the wrong key."""
    return _parsed(document, DEFAULT.classes, stored=False)


def stored_spec(document: Mapping[str, Any], classes: int) -> StudySpec:
    """The spec that a study has stored, with the number of classes of its images.

    It may break rules that are younger than the study, which can still be read then; launching it checks them.
    """
    return _parsed(document, classes, stored=True)


def _parsed(document: Mapping[str, Any], classes: int, *, stored: bool) -> StudySpec:
    """The study spec in a document: each table holds the fields of one record and a few of the study's own."""
    top = ("name", "about", "trials", "budget", "until_plateau", "seed", "sampler", "input_size")
    strict.known(document, (*top, "space", "limits", "data", "training", "latency"))
    values = {key: document[key] for key in top if key in document}

    def table(key: str, record: type, *others: str) -> dict[str, Any]:
        """A table of the document that holds the fields of a record, and others."""
        found = document.get(key, {})
        require(isinstance(found, Mapping), key, found, f"a table, [{key}]")
        hidden = {Space: ("classes",), Recipe: ("name",)}.get(record, ())
        allowed = (*others, *(each.name for each in fields(record) if each.name not in hidden))
        strict.known(found, allowed, key)
        return dict(found)

    space = table("space", Space, "base")
    base = space.pop("base", DEFAULT.name)
    require(stored or (isinstance(base, str) and base in SPACES), "space.base", base, f"one of {', '.join(SPACES)}")
    space = vars(SPACES.get(base, DEFAULT)) | {"name": base, "classes": classes} | space
    values["space"] = strict.read(space, Space, path="space", stored=stored)

    values["limits"] = strict.read(table("limits", Limits), Limits, path="limits", stored=stored)

    data = table("data", DataSettings, "flip", "caveat")
    values |= {key: data.pop(key) for key in ("flip", "caveat") if key in data}
    values["data"] = strict.read({"name": "digits"} | data, DataSettings, path="data", stored=stored)

    training = table("training", Recipe, "recipe", "device", "rungs")
    values |= {
        name: training.pop(key) for name, key in (("trains_on", "device"), ("rungs", "rungs")) if key in training
    }
    recipe = training.pop("recipe", FAST.name)
    known = RECIPES.get(recipe, FAST) if isinstance(recipe, str) else FAST
    training = vars(known) | {"name": recipe} | training
    values["recipe"] = strict.read(training, Recipe, path="training", stored=stored)

    latency = table("latency", Protocol, "device", "runtimes")
    values |= {key: latency.pop(key) for key in ("device", "runtimes") if key in latency}
    values["protocol"] = strict.read(latency, Protocol, path="latency", stored=stored)
    if "runtimes" not in values and isinstance(values.get("device"), str):
        values["runtimes"] = _runtimes_of(values["device"])[:1]
    return strict.read(values, StudySpec, stored=stored)


def _runtimes_of(device: str) -> tuple[str, ...]:
    """Runtimes of the device of a name, the default first."""
    try:
        return device_named(device).runtimes
    except InputError as error:
        raise InputError(f"latency.device: {error}") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 - any field's value
    """Tuples as lists and paths as text, at every depth."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
