"""Study specs: validated settings that are read from TOML and stored in the study."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from search.box import Axis, Objective, stored_objective
from search.data import Data, DataSettings, as_settings
from search.latency.devices.named import device_named
from search.latency.protocol import Protocol
from search.latency.reference import REFERENCE
from search.samplers.named import SAMPLERS
from search.samplers.successive_halving import check_rungs, derived_rungs
from search.training.metrics import METRICS
from search.training.recipes import FAST, RECIPES, Recipe
from space import DEFAULT, SPACES, Limits, Space
from threshnet import strict
from threshnet.bounds import MAX_INPUT
from threshnet.errors import InputError, require, shown
from threshnet.shapes import smallest_input
from threshnet.strict import Converted, Key, OneOf, Range

BUILT_IN = Path(__file__).parent / "builtin"
# The name is used in folders and commands.
NAME = r"[\w][\w.-]{0,79}"


@dataclass(frozen=True)
class StudySpec:
    """The settings of a study. Raises InputError if a value is not allowed.

    All launches of a study must use the same settings, except for the end of the study, its description, the training
    device and the path of the data.
    """

    # Name of the study in its storage: at most 80 letters, digits, '-', '_' and '.', not starting with '-' or '.'.
    name: str
    # The study ends when this number of networks, named ones included, was scored at a rung or at the end of training,
    # or failed, and at least one of them is trained to the end.
    trials: Annotated[int, Range(1, 1_000_000)] = 30
    # The study ends at this search cost, in full trainings: when it has processed as many training images as this
    # number of full trainings would. Without it, there is no limit.
    budget: Annotated[float, Range(above=0, unit="full trainings")] | None = None
    # Whether the study ends when its front has plateaued.
    until_plateau: bool = False
    # The purpose of the study in one sentence.
    about: str = ""
    # Seed of the sampler, the initial weights and the order of the images.
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    # Name of the sampler that proposes networks.
    sampler: Annotated[str, OneOf(SAMPLERS)] = "freeze_thaw"
    # Height and width of the images in pixels.
    input_size: Annotated[int, Range(1, MAX_INPUT, unit="pixels")] = 32
    # Networks to compare with the networks found: names of networks, JSON files, `torchvision/NAME` and `timm/NAME`.
    # All are measured at the start and trained in turn with the networks of the search. By default, these are the
    # published ThreshNets that the space contains and that take images of this size.
    named: tuple[str, ...] | None = None
    # Earlier work that the sampler `freeze_thaw` learns from before the first training: names of other studies in the
    # same storage, and CSV files of networks with their errors. They may have other data, devices and recipes.
    prior: tuple[str, ...] = ()
    space: Space = DEFAULT
    limits: Limits = field(default_factory=Limits)
    # The images: settings, the name of a data set, or the path of an ImageFolder tree.
    data: Annotated[Data, Converted(DataSettings)] = field(default_factory=lambda: DataSettings("digits"))
    # Whether training may flip images horizontally. By default, the data set decides.
    flip: Annotated[bool | None, Key("data.flip")] = None
    # Note shown with every reported number of the study.
    caveat: Annotated[str, Key("data.caveat")] = ""
    # The error that the study minimizes. "error": the share of misclassified images. "balanced_error": the mean of this
    # share over all classes, with a training loss that weights all classes equally, for classes of very different
    # sizes.
    metric: Annotated[str, OneOf(METRICS), Key("objective.metric")] = "error"
    # Latency axis of the box, a region of latency and error. The search maximizes the share of the box that the front
    # dominates. "log": halving the latency counts the same for slow and fast networks. "linear": each millisecond
    # counts the same, so the latencies near the limit make up most of the box.
    box: Annotated[Axis, Key("objective.box")] = "log"
    # Upper edge of the box in percent. Networks with larger errors add nothing to the hypervolume, but this is not a
    # constraint. By default, this is the error of naming the most frequent class for every validation image; with the
    # balanced error, it is chance level.
    max_error: Annotated[Annotated[float, Range(above=0, most=100)] | None, Key("objective.max_error")] = None
    # Lower edge of a log box in ms. Faster networks count as if they had this latency. By default, this is the latency
    # of the fastest feasible network measured, at most half of the upper edge.
    min_latency_ms: Annotated[Annotated[float, Range(above=0)] | None, Key("objective.min_latency_ms")] = None
    recipe: Recipe = FAST
    # Numbers of epochs, increasing and below `epochs`, after which a training is scored and may be stopped. If empty,
    # all networks are fully trained. By default, these are the powers of two below `epochs` with the sampler
    # `freeze_thaw`, and no rungs with any other sampler.
    rungs: Annotated[tuple[int, ...] | None, Key("training.rungs")] = None
    # Device for training: "cpu", "cuda", "cuda:N", or "auto" to use a GPU if there is one.
    trains_on: Annotated[str, Key("training.device")] = "auto"
    # Device for measuring latency.
    device: Annotated[str, Key("latency.device")] = "cpu"
    # Runtimes for measuring latency. The first one is the objective.
    runtimes: Annotated[tuple[str, ...], Key("latency.runtimes")] = ("onnxruntime",)
    protocol: Protocol = field(default_factory=Protocol)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", as_settings(self.data))
        strict.check(self)
        allowed = "at most 80 letters, digits, '-', '_' and '.', not '-' or '.' first"
        require(re.fullmatch(NAME, self.name) is not None, "name", self.name, allowed)
        for least, reason in (
            (self.space.smallest_input, "every network of the space pools a smaller input to nothing"),
            (smallest_input(REFERENCE), "the reference network of all latencies pools a smaller input to nothing"),
        ):
            require(self.input_size >= least, "input_size", self.input_size, f"at least {least}, as {reason}")
        require(self.recipe.name in RECIPES, "training.recipe", self.recipe.name, f"one of {', '.join(RECIPES)}")
        check_rungs(self.rungs or (), self.recipe.epochs)
        self._check_lower_edge()
        learns = not self.prior or self.sampler == "freeze_thaw"
        require(learns, "prior", self.prior, f"left out, as the sampler {self.sampler} does not learn from it")
        trainable = re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.trains_on) is not None
        require(trainable, "training.device", self.trains_on, "'auto', 'cpu', 'cuda' or 'cuda:N'")
        available = _runtimes_of(self.device)
        supported = bool(self.runtimes) and all(runtime in available for runtime in self.runtimes)
        require(supported, "latency.runtimes", self.runtimes, f"a list of {', '.join(available)}")
        distinct = len(set(self.runtimes)) == len(self.runtimes)
        require(distinct, "latency.runtimes", self.runtimes, "a list that names each runtime once")

    def _check_lower_edge(self) -> None:
        key, value, limit_ms = "objective.min_latency_ms", self.min_latency_ms, self.limits.latency_ms
        if value is not None:
            require(self.box == "log", key, value, "left out with box = 'linear', which begins at 0 ms")
            require(limit_ms is None or value < limit_ms, key, value, f"below limits.latency_ms = {limit_ms}")

    @property
    def objective(self) -> Objective:
        """The error that is minimized and the settings of the box."""
        return Objective(self.metric, self.box, self.max_error, self.min_latency_ms)

    @property
    def dataset(self) -> DataSettings:
        """The settings of the images."""
        assert isinstance(self.data, DataSettings)  # converted on construction
        return self.data

    @property
    def rungs_in_use(self) -> tuple[int, ...]:
        """The rungs that are given or, if none are, those that the sampler uses by default."""
        if self.rungs is not None:
            return self.rungs
        return derived_rungs(self.recipe.epochs) if SAMPLERS[self.sampler].default_rungs else ()

    def to_json(self) -> dict[str, Any]:
        """Return the spec as a JSON-ready dict with the layout of the TOML file. `stored_spec` is the inverse."""
        space, training = strict.plain(self.space), strict.plain(self.recipe)
        del space["classes"]
        name = space.pop("name")
        return {
            "name": self.name,
            "about": self.about,
            "trials": self.trials,
            **({} if self.budget is None else {"budget": self.budget}),
            **({"until_plateau": True} if self.until_plateau else {}),
            "seed": self.seed,
            "sampler": self.sampler,
            "input_size": self.input_size,
            **({} if self.named is None else {"named": list(self.named)}),
            **({"prior": list(self.prior)} if self.prior else {}),
            "space": {"base" if name in SPACES else "name": name, **space},
            "limits": _given(strict.plain(self.limits)),
            "data": _given(strict.plain(self.dataset) | {"flip": self.flip, "caveat": self.caveat or None}),
            "objective": {
                **({} if self.metric == "error" else {"metric": self.metric}),
                "box": self.box,
                **_given({"max_error": self.max_error, "min_latency_ms": self.min_latency_ms}),
            },
            "training": {
                "recipe": training.pop("name"),
                **training,
                "device": self.trains_on,
                "rungs": list(self.rungs_in_use),
            },
            "latency": {"device": self.device, "runtimes": list(self.runtimes), **self.protocol.to_json()},
        }


def find_spec(name: str) -> StudySpec:
    """Read the spec in the TOML file `name` or the built-in spec called `name`. Raises InputError if neither exists."""
    path = spec_file(name)
    if path is not None:
        return read_spec(path)
    built_in = BUILT_IN / f"{name}.toml"
    if not built_in.is_file():
        names = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.toml")))
        raise InputError(f"no study spec {name!r}: neither a TOML file nor a built-in one ({names})")
    return read_spec(built_in)


def spec_file(name: str) -> Path | None:
    """Return the TOML file that `name` refers to, or None for the name of a built-in spec."""
    path = Path(name)
    return path if path.suffix == ".toml" or path.is_file() else None


@contextmanager
def naming_file(file: Path | None) -> Iterator[None]:
    """Add the file of a study to the InputErrors of a block: "mine.toml: data.train = 0: ...". None adds nothing."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}: {error}" if file else str(error)) from None


def read_spec(path: Path) -> StudySpec:
    """Read the study spec in a TOML file. Raises InputError with the file and the key if it is invalid."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    with naming_file(path):
        return parse_spec(document)


def parse_spec(document: Mapping[str, Any]) -> StudySpec:
    """Parse the study spec in a TOML or JSON document. Raises InputError with the key if it is invalid."""
    return _parsed(document, DEFAULT.classes, stored=False)


def stored_spec(document: Mapping[str, Any], classes: int) -> StudySpec:
    """Parse the spec that is stored in a study. `classes` is the number of classes of its images.

    Only keys and types are checked, so that a study can still be read if later versions have stricter rules. A study
    without the key `training.rungs` has no rungs: earlier versions stored rungs only if there were any. A study without
    the key `objective.box` has the box of earlier versions: linear, up to the chance level of equally frequent classes.
    """
    training = {"rungs": [], **document.get("training", {})}
    objective = document.get("objective", {})
    objective = stored_objective(objective, classes) if isinstance(objective, Mapping) else objective
    return _parsed({**document, "training": training, "objective": objective}, classes, stored=True)


def _parsed(document: Mapping[str, Any], classes: int, *, stored: bool) -> StudySpec:
    """Parse a document. Each table contains the fields of one record and a few fields of StudySpec."""
    top = ("name", "about", "trials", "budget", "until_plateau", "seed", "sampler", "input_size", "named", "prior")
    strict.known(document, (*top, "space", "limits", "data", "objective", "training", "latency"))
    values = {key: document[key] for key in top if key in document}

    def table(key: str, record: type, *others: str) -> dict[str, Any]:
        """Return one table of the document. Valid keys are the fields of `record` and the keys in `others`."""
        found = document.get(key, {})
        require(isinstance(found, Mapping), key, found, f"a table, [{key}]")
        hidden = {Space: ("classes",), Recipe: ("name",), DataSettings: () if stored else ("memory",)}.get(record, ())
        allowed = (*others, *(each.name for each in fields(record) if each.name not in hidden))
        strict.known(found, allowed, key)
        return dict(found)

    space = table("space", Space, "base")
    base = space.pop("base", DEFAULT.name)
    require(isinstance(base, str) and (stored or base in SPACES), "space.base", base, f"one of {', '.join(SPACES)}")
    space = vars(SPACES.get(base, DEFAULT)) | {"name": base, "classes": classes} | space
    values["space"] = strict.read(space, Space, path="space", stored=stored)

    values["limits"] = strict.read(table("limits", Limits), Limits, path="limits", stored=stored)

    data = table("data", DataSettings, "flip", "caveat")
    values |= {key: data.pop(key) for key in ("flip", "caveat") if key in data}
    values["data"] = strict.read({"name": "digits"} | data, DataSettings, path="data", stored=stored)
    if "path" in data and "name" not in data:
        raise InputError(f'data.path = {shown(data["path"])}: needs data.name, e.g. name = "folder"')

    objective = document.get("objective", {})
    require(isinstance(objective, Mapping), "objective", objective, "a table, [objective]")
    strict.known(objective, ("metric", "box", "max_error", "min_latency_ms"), "objective")
    values |= objective

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


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def _runtimes_of(device: str) -> tuple[str, ...]:
    """Return the runtimes of a device, the default first. Raises InputError for an invalid name."""
    try:
        return device_named(device).runtimes
    except InputError as error:
        raise InputError(f"latency.device: {error}") from None
