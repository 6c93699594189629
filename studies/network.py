"""Resolve NETWORK on the command line: a name, a file, a trial of a study, or a model of a library.

Imports of torch, Optuna and onnx are inside the functions that need them, so that counting the costs of a named network
or of a JSON file is fast.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studies.defaults import DEFAULT_STORAGE
from threshnet.baselines import Architecture, library_model
from threshnet.errors import InputError
from threshnet.named import ABOUT, NAMED, named
from threshnet.spec import NetworkSpec
from threshnet.spec_file import INPUT_SIZE, ResolvedNetwork, read_spec_file

if TYPE_CHECKING:
    from search.latency.onnx_files import Network
    from search.records import Record
    from studies.study import LoadedStudy
    from threshnet.inspect_onnx import ImageInput

KNEE = "knee"
CLASSES = 10  # of a measured network that has no number of its own


@dataclass(frozen=True)
class TrialName:
    """STUDY:TRIAL or STUDY:knee as typed."""

    study: str
    # Number of the trial; None: the knee of the front.
    trial: int | None


@dataclass(frozen=True)
class MeasurableNetwork:
    """A network to measure, with its title."""

    title: str
    network: "Network"
    # Pixels; None if it has no size of its own.
    input_size: int | None = None
    # The input of an ONNX file.
    onnx: "ImageInput | None" = None


def trial_name(text: str) -> TrialName | None:
    """Parse STUDY:TRIAL or STUDY:knee; None if `text` has no colon or is a file.

    Raises InputError if TRIAL is neither a number nor the word knee.
    """
    study, colon, trial = text.rpartition(":")
    if not colon or text.endswith((".json", ".onnx")) or Path(text).exists():
        return None
    if trial == KNEE:
        return TrialName(study, None)
    if not (trial.isascii() and trial.isdigit()):
        raise InputError(
            f"network {text!r}: neither a file nor a trial; after the colon must be the number of a trial or {KNEE}"
        )
    return TrialName(study, int(trial))


def read_network(
    text: str, classes: int | None = None, also: Iterable[str] = (), storage: str = DEFAULT_STORAGE
) -> ResolvedNetwork:
    """Return the ThreshNet given by its name, by a JSON file or as STUDY:TRIAL. `classes` only applies to names.

    Raises InputError if there is no such network or if the file is invalid. The message contains the file and the key,
    the study and the trial, or all valid names including those in `also`.
    """
    if text.lower() in NAMED:
        return named_network(text, classes)
    if text.endswith(".onnx") or library_model(text) is not None:
        raise InputError(f"network {text!r}: must be a ThreshNet, not an ONNX file or a model of torchvision or timm")
    if (trial := trial_name(text)) is not None:
        return trial_network(trial, storage)
    if text.endswith(".json") or Path(text).exists():
        return read_spec_file(Path(text))
    return named_network(text, classes, also)


def measurable_network(text: str, storage: str = DEFAULT_STORAGE) -> MeasurableNetwork:
    """Return the network given as in `read_network`, as an ONNX file, or as torchvision/NAME or timm/NAME.

    Raises InputError if there is no such network, or if it does not take square RGB images.
    """
    if text.endswith(".onnx"):
        from threshnet.inspect_onnx import image_input

        file = image_input(Path(text))
        return MeasurableNetwork(text, Path(text), file.size, file)
    if (model := library_model(text, CLASSES)) is not None:
        return MeasurableNetwork(text, model)
    if (trial := trial_name(text)) is not None:
        return MeasurableNetwork(*_trial(trial, storage))
    given = read_network(text, CLASSES)
    return MeasurableNetwork(given.title, given.spec, None if text.lower() in NAMED else given.input_size)


def measured_size(networks: Sequence[MeasurableNetwork], size: int | None, batch: int) -> int:
    """Return the image size at which to measure networks: `size`, else their own, else INPUT_SIZE.

    Raises InputError if their own sizes differ and `size` is None, or if an ONNX file has another fixed size or batch.
    """
    chosen = common_size([one.input_size for one in networks], size)
    for one in networks:
        if one.onnx and one.onnx.size not in (None, chosen):
            raise InputError(f"{one.title}: takes images of {one.onnx.size} pixels only, not --input {chosen}")
        if one.onnx and one.onnx.batch not in (None, batch):
            raise InputError(f"{one.title}: has the fixed batch size {one.onnx.batch}, not --batch {batch}")
    return chosen


def common_size(own: Iterable[int | None], size: int | None) -> int:
    """Return the image size of several networks: `size`, else their `own` one, else INPUT_SIZE.

    Raises InputError if their own sizes differ and `size` is None.
    """
    sizes = sorted({pixels for pixels in own if pixels is not None})
    if size is None and len(sizes) > 1:
        raise InputError(f"the networks are for images of {', '.join(map(str, sizes))} pixels; choose --input")
    return size or next(iter(sizes), INPUT_SIZE)


def trial_network(name: TrialName, storage: str = DEFAULT_STORAGE) -> ResolvedNetwork:
    """Return the network of a trial, whether or not it was trained.

    Raises InputError if there is none, or if it is a model of torchvision or timm.
    """
    title, network, input_size = _trial(name, storage)
    if not isinstance(network, NetworkSpec):
        raise InputError(f"{title} is {network.name}: must be a ThreshNet, not a model of torchvision or timm")
    return ResolvedNetwork(title, f"The network of {title}", network, input_size)


def _trial(name: TrialName, storage: str) -> tuple[str, Architecture, int]:
    """Return title, network and input size of a trial. Raises InputError if there is none, or no network yet."""
    from studies.study import load_study

    loaded = load_study(name.study, storage)
    record = trial_of(loaded, name.trial)
    if record.architecture is None:
        raise InputError(f"trial {record.number} of study {name.study!r} has no network yet: it is {record.state}")
    return f"{name.study}, trial {record.number}", record.architecture, loaded.spec.input_size


def trial_of(loaded: "LoadedStudy", number: int | None) -> "Record":
    """Return a trial of a study, or the picked one of its front if `number` is None.

    Raises InputError if there is none.
    """
    from studies.fronts.front import front_of

    if number is None:
        return front_of(loaded).picked
    found = loaded.record(number)
    if found is None:
        last = max((record.number for record in loaded.records), default=None)
        there = "it has none yet" if last is None else f"its trials are 0 to {last}"
        raise InputError(f"study {loaded.spec.name!r} has no trial {number}; {there}")
    return found


def named_network(name: str, classes: int | None = None, also: Iterable[str] = ()) -> ResolvedNetwork:
    """Return the network with this name. `classes` overrides its number of classes."""
    spec = named(name, also)
    about = ABOUT[name.lower()]
    origin = about.origin[0].upper() + about.origin[1:]
    return ResolvedNetwork(about.title, origin, spec if classes is None else replace(spec, classes=classes))
