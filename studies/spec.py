"""A study as data: read from TOML, checked key by key, and written into the study it describes."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from search.data import DataSettings
from search.latency.devices.named import device_named
from search.latency.protocol import Protocol
from search.samplers.named import SAMPLERS
from search.samplers.successive_halving import check_rungs
from search.training.recipes import FAST, Recipe, recipe_named
from space import DEFAULT, SPACES, Limits, Space
from space.definition import CHOICES
from threshnet.bounds import MAX_INPUT
from threshnet.errors import InputError
from threshnet.spec import StemSpec

BUILT_IN = Path(__file__).parent / "builtin"


@dataclass(frozen=True)
class StudySpec:
    """Everything that decides a study; two launches of one study must agree on all but `trials` and the data's path."""

    # Name of the study in its storage: letters, digits, '-', '_' and '.'.
    name: str
    # Number of trained (or failed) networks at which the study ends, named networks included.
    trials: int
    # Search cost at which the study ends, in full trainings: the training images that so many complete trainings
    # process. Without it there is no such end.
    budget: float | None = None
    # Whether the study ends as soon as its front has plateaued.
    until_plateau: bool = False
    # One sentence on what the study is for.
    about: str = ""
    # Seed of the sampler, the initial weights and the order of the images.
    seed: int = 0
    # Name of the sampler that proposes networks.
    sampler: str = "tpe"
    # Height and width of the images, pixels.
    input_size: int = 32
    space: Space = DEFAULT
    limits: Limits = field(default_factory=Limits)
    data: DataSettings = field(default_factory=lambda: DataSettings("digits"))
    # Whether training may flip images horizontally. Without it the data set decides.
    flip: bool | None = None
    # Note shown with every reported number of the study.
    caveat: str = ""
    recipe: Recipe = FAST
    # Epochs after which a training is scored and may be stopped, rising and below `epochs`. Empty: every training runs
    # to its end.
    rungs: tuple[int, ...] = ()
    # Device that trains: "cpu", "cuda", "cuda:N", or "auto" for a GPU if there is one.
    trains_on: str = "auto"
    # Device on which latency is measured.
    device: str = "cpu"
    # Runtimes through which it is measured; the first one is the objective.
    runtimes: tuple[str, ...] = ("onnxruntime",)
    protocol: Protocol = field(default_factory=Protocol)

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
            "space": ({"base": self.space.name} if self.space.name in SPACES else {})
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
    """The study spec in the TOML file `name`, or the built-in one of that name; InputError where there is neither."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return read_spec(path)
    built_in = BUILT_IN / f"{name}.toml"
    if not built_in.is_file():
        names = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.toml")))
        raise InputError(f"no study spec {name!r}: neither a TOML file nor a built-in one ({names})")
    return read_spec(built_in)


def read_spec(path: Path) -> StudySpec:
    """The study spec in a TOML file; InputError names the file and the key that is wrong."""
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
    """The study spec in a TOML or JSON document; InputError names the key that is wrong."""
    top = ("name", "about", "trials", "budget", "until_plateau", "seed", "sampler", "input_size")
    tables = ("space", "limits", "data", "training", "latency")
    _known(document, (*top, *tables), "")
    values = {key: document[key] for key in top if key in document}
    for key, kind in (
        ("name", str),
        ("about", str),
        ("trials", int),
        ("seed", int),
        ("sampler", str),
        ("input_size", int),
    ):
        if key in values and type(values[key]) is not kind:
            raise InputError(f"{key} = {values[key]!r}: must be {'text' if kind is str else 'a whole number'}")
    budget = values.get("budget", 1)
    if type(budget) not in (int, float) or not 0 < budget < math.inf:
        raise InputError(f"budget = {budget!r}: must be a number of full trainings above 0")
    if type(values.get("until_plateau", False)) is not bool:
        raise InputError(f"until_plateau = {values['until_plateau']!r}: must be true or false")
    for key in ("name", "trials"):
        if key not in values:
            raise InputError(f"key {key!r} is missing")
    _within("trials", values["trials"], 1, 1_000_000)
    _within("seed", values.get("seed", 0), 0, 2**31 - 1)
    _within("input_size", values.get("input_size", 32), 1, MAX_INPUT)
    if not values["name"].strip(".") or not all(c.isalnum() or c in "-_." for c in values["name"]):
        raise InputError(f"name = {values['name']!r}: must be letters, digits, '-', '_' and '.'")
    if values.get("sampler", "tpe") not in SAMPLERS:
        raise InputError(f"sampler = {values['sampler']!r}: must be one of {', '.join(SAMPLERS)}")
    data, flip, caveat = _data(_table(document, "data"))
    trains_on, recipe, rungs = _training(_table(document, "training"))
    return StudySpec(
        **values,
        space=_space(_table(document, "space")),
        limits=_limits(_table(document, "limits")),
        data=data,
        flip=flip,
        caveat=caveat,
        recipe=recipe,
        rungs=rungs,
        trains_on=trains_on,
        **_latency(_table(document, "latency")),
    )


def _space(table: dict[str, Any]) -> Space:
    _known(table, ("base", "granularity", *CHOICES), "space.")
    base = table.pop("base", DEFAULT.name)
    if not isinstance(base, str) or base not in SPACES:
        raise InputError(f"space.base = {base!r}: must be one of {', '.join(SPACES)}")
    kinds = get_type_hints(Space)
    for key in CHOICES:
        if key not in table:
            continue
        if not isinstance(table[key], list):
            raise InputError(f"space.{key} = {table[key]!r}: must be a list of values")
        if key == "stems":
            table[key] = tuple(_stem(value) for value in table[key])
            continue
        (item, _) = kinds[key].__args__
        allowed = getattr(item, "__args__", None)
        for value in table[key]:
            if value not in allowed if allowed else type(value) not in ((int, float) if item is float else (item,)):
                want = " or ".join(map(repr, allowed)) if allowed else f"{item.__name__} values"
                raise InputError(f"space.{key}: {value!r} is not allowed, only {want}")
        table[key] = tuple(float(value) if item is float else value for value in table[key])
    return replace(SPACES[base], **table)


def _stem(value: object) -> StemSpec:
    if not isinstance(value, dict):
        raise InputError(f"space.stems: {value!r} must be a table with widths, stride and pool")
    _known(value, tuple(f.name for f in fields(StemSpec)), "space.stems.")
    widths = value.get("widths")
    return StemSpec(**{**value, **({"widths": tuple(widths)} if isinstance(widths, list) else {})})


def _limits(table: dict[str, Any]) -> Limits:
    _known(table, tuple(f.name for f in fields(Limits)), "limits.")
    return Limits(**table)


def _data(table: dict[str, Any]) -> tuple[DataSettings, bool | None, str]:
    _known(table, (*(f.name for f in fields(DataSettings)), "flip", "caveat"), "data.")
    flip, caveat = table.pop("flip", None), table.pop("caveat", "")
    if flip is not None and type(flip) is not bool:
        raise InputError(f"data.flip = {flip!r}: must be true or false")
    if not isinstance(caveat, str):
        raise InputError(f"data.caveat = {caveat!r}: must be text")
    for key in ("name", "path"):
        if not isinstance(table.get(key, ""), str):
            raise InputError(f"data.{key} = {table[key]!r}: must be text")
    if "path" in table:
        table["path"] = Path(table["path"])
    return DataSettings(**{"name": "digits", **table}), flip, caveat


def _training(table: dict[str, Any]) -> tuple[str, Recipe, tuple[int, ...]]:
    names = tuple(f.name for f in fields(Recipe) if f.name != "name")
    _known(table, ("recipe", "device", "rungs", *names), "training.")
    name, device, rungs = table.pop("recipe", FAST.name), table.pop("device", "auto"), table.pop("rungs", [])
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise InputError(f"training.device = {device!r}: must be 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if not isinstance(name, str):
        raise InputError(f"training.recipe = {name!r}: must be text")
    base = recipe_named(name)
    kinds = get_type_hints(Recipe)
    for key, value in table.items():
        allowed = getattr(kinds[key], "__args__", None)
        fits = value in allowed if allowed else type(value) in ((int, float) if kinds[key] is float else (kinds[key],))
        if not fits:
            want = " or ".join(map(repr, allowed)) if allowed else f"of type {kinds[key].__name__}"
            raise InputError(f"training.{key} = {value!r}: must be {want}")
    recipe = replace(base, **table)
    if not isinstance(rungs, list):
        raise InputError(f"training.rungs = {rungs!r}: must be a list of epochs")
    check_rungs(rungs, recipe.epochs)
    return device, recipe, tuple(rungs)


def _latency(table: dict[str, Any]) -> dict[str, Any]:
    names = tuple(f.name for f in fields(Protocol))
    _known(table, ("device", "runtimes", *names), "latency.")
    name = table.pop("device", "cpu")
    if not isinstance(name, str):
        raise InputError(f"latency.device = {name!r}: must be text")
    try:
        device = device_named(name)
    except InputError as error:
        raise InputError(f"latency.device: {error}") from None
    runtimes = table.pop("runtimes", [device.runtimes[0]])
    if not isinstance(runtimes, list) or not runtimes or not all(r in device.runtimes for r in runtimes):
        raise InputError(f"latency.runtimes = {runtimes!r}: must be a list of {', '.join(device.runtimes)}")
    if len(set(runtimes)) < len(runtimes):
        raise InputError(f"latency.runtimes = {runtimes!r}: must name each runtime once")
    kinds = get_type_hints(Protocol)
    for key, value in table.items():
        if key == "precision":
            continue  # Protocol itself lists what is allowed
        if type(value) not in ((int, float) if kinds[key] is float else (kinds[key],)):
            raise InputError(
                f"latency.{key} = {value!r}: must be {'true or false' if kinds[key] is bool else 'a number'}"
            )
    return {"device": name, "runtimes": tuple(runtimes), "protocol": Protocol(**table)}


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, Mapping):
        raise InputError(f"{key} = {value!r}: must be a table, [{key}]")
    return dict(value)


def _known(table: Mapping[str, Any], allowed: tuple[str, ...], prefix: str) -> None:
    unknown = [key for key in table if key not in allowed]
    if unknown:
        raise InputError(f"unknown key {prefix + unknown[0]!r}; allowed are {', '.join(allowed)}")


def _within(key: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InputError(f"{key} = {value}: must lie between {low} and {high}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - any field's value
    """Tuples as lists and paths as text, at every depth."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
