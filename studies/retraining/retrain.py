"""Retrain networks from Python: turn what the user passes into a plan, and carry it out."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from search.data import Data, as_settings, class_names
from search.training.recipes import Recipe, recipe_named
from studies.defaults import default_storage
from studies.export.final_training import searched_network
from studies.export.trained import TrainedNetwork
from studies.library import Study
from studies.network import common_size, read_network
from studies.retraining.carry_out import carry_out
from studies.retraining.latencies import measurement_settings
from studies.retraining.outcome import Retrained
from studies.retraining.plan import RetrainingPlan
from studies.screen import Screen, console, run_steps
from studies.start.prepare import flips, training_device
from threshnet.errors import InputError
from threshnet.named import NAMED
from threshnet.spec import NetworkSpec
from threshnet.spec_file import ResolvedNetwork

Network = TrainedNetwork | ResolvedNetwork | NetworkSpec | Path | str
"""A network to retrain: of a study, a spec, or a text as on the command line: a name, a JSON file, STUDY:TRIAL."""


def retrain(
    networks: Sequence[Network],
    folder: Path | str,
    *,
    study: Study | None = None,
    data: Data | None = None,
    recipe: str | Recipe = "fast",
    epochs: int | None = None,
    seeds: int | Sequence[int] = 3,
    metric: str | None = None,
    held_out: bool = True,
    tested: bool = True,
    input_size: int | None = None,
    device: str | None = None,
    export: Network | None = None,
    progress: bool | Screen = True,
) -> Retrained:
    """Train several networks in full with the same data, recipe and seeds, measure them in one pass, and export one.

    `networks` are networks of a study (e.g. its front), specs, or texts as on the command line; a network that is given
    twice is trained once. Images, flips, `metric`, image size and latency device are those of `study` or of the study
    of the first network, unless they are given; `data` without a study is required. `seeds` is a number of seeds, or
    the seeds. Validation images are held out for the validation error; with `held_out` false, networks train on them
    too. With `tested` false, the test images are not read.

    The first seed of all networks is trained first, then the second one, and so on. Each finished training is a line of
    `folder`/trainings.jsonl, and a training in progress has a checkpoint for its last epoch. Call it again with the
    same folder to run only what is missing, e.g. after an interrupt or with more networks or seeds. The network in
    `export`, or else the one with the lowest mean validation error, is exported to `folder`/model with the weights of
    the first seed. The results are also drawn to `folder`/figure.png if Chrome or Chromium is installed.

    Raises InputError for invalid values, or if the folder has trainings with other settings; TrainingFailed if every
    training fails; MeasurementError if the measurement fails; and ExportError if an exported file does not reproduce
    the network.
    """
    loaded = study.loaded if study else next((one.loaded for one in networks if isinstance(one, TrainedNetwork)), None)
    spec = loaded.spec if loaded else None
    if data is not None:
        settings = as_settings(data)
    elif spec is not None:
        settings = replace(spec.dataset, train=None)
    else:
        raise InputError("the networks need data: a data set, the path of an ImageFolder tree, or a study")
    classes, storage = len(class_names(settings)), study.storage if study else default_storage()
    found = [_resolved(network, classes, storage) for network in networks]
    pixels = common_size([spec.input_size] if spec else [size for _, size in found], input_size)
    different: dict[str, ResolvedNetwork] = {}
    for network, _ in found:
        different.setdefault(network.spec.fingerprint(), replace(network, input_size=pixels))
    chosen = recipe_named(recipe) if isinstance(recipe, str) else recipe
    own_images = spec if data is None else None
    plan = RetrainingPlan(
        networks=tuple(different.values()),
        data=settings,
        recipe=chosen if epochs is None else replace(chosen, epochs=epochs),
        seeds=range(seeds) if isinstance(seeds, int) else seeds,
        flip=flips(own_images) if own_images else None,
        metric=metric or (spec.metric if spec else "error"),
        held_out=held_out,
        tested=tested,
        caveat=own_images.caveat if own_images else "",
        trains_on=training_device(spec.trains_on if spec else "auto"),
    )
    exported = None if export is None else _one_of(plan, _resolved(export, classes, storage)[0])
    measuring = measurement_settings(spec, device)
    own_screen = Screen(console(progress is True), "retraining", units="trainings")
    with nullcontext(progress) if isinstance(progress, Screen) else own_screen as screen:
        screen.total = len(plan.networks) * len(plan.seeds)
        return run_steps(carry_out(plan, measuring, Path(folder), screen, exported), screen.print)


def _resolved(network: Network, classes: int, storage: str) -> tuple[ResolvedNetwork, int | None]:
    """Return a network and its own image size, None if it has none. `classes` only applies to names."""
    if isinstance(network, TrainedNetwork):
        return searched_network(network.loaded, network.record), network.loaded.spec.input_size
    if isinstance(network, NetworkSpec):
        return ResolvedNetwork(f"network {network.fingerprint()}", "Given as a spec", network), None
    if isinstance(network, ResolvedNetwork):
        return network, network.input_size
    found = read_network(str(network), classes, storage=storage)
    return found, None if str(network).lower() in NAMED else found.input_size


def _one_of(plan: RetrainingPlan, network: ResolvedNetwork) -> str:
    """Return the fingerprint of a network. Raises InputError unless the plan has it."""
    fingerprint = network.spec.fingerprint()
    if all(fingerprint != one.spec.fingerprint() for one in plan.networks):
        titles = ", ".join(one.title for one in plan.networks)
        raise InputError(f"export = {network.title!r}: must be one of the networks, {titles}")
    return fingerprint
