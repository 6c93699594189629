"""Trained networks as Python objects: load, export and retrain them; train a network that was written by hand."""

from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from search.data import Data, as_settings
from search.latency.devices.device import Device
from search.records import Record, reading
from search.training.recipes import Recipe, recipe_named
from studies.export.final_training import Assignment, train_network, trial_assignment
from studies.export.folder import ExportedModel, export_trial, spec_of, trial_module
from studies.export.latency import device_for_files
from studies.fronts.picking import PickResult
from studies.fronts.picking_text import pick_text, reason
from studies.fronts.wording import title
from studies.screen import Screen, console, printer, run_steps
from studies.study import LoadedStudy
from threshnet.drawing import schedule_svg
from threshnet.errors import require
from threshnet.spec import NetworkSpec
from threshnet.spec_file import INPUT_SIZE, ResolvedNetwork

if TYPE_CHECKING:
    from rich.console import Console


class TrainedNetwork:
    """A network that a study trained. `record` has everything that is stored about its trial."""

    def __init__(self, loaded: LoadedStudy, record: Record) -> None:
        self.loaded, self.record = loaded, record

    @property
    def trial(self) -> int:
        """The number of its trial."""
        return self.record.number

    @property
    def title(self) -> str:
        """Its published name, or "trial N"."""
        return title(self.record)

    @property
    def network(self) -> NetworkSpec:
        """The network as data. Raises InputError for a model of another library."""
        return spec_of(self.record)

    @property
    def metrics(self) -> dict[str, float]:
        """Validation error in percent, latency with its 95 % interval in ms, and costs."""
        latency_ms, error = self.record.point
        latency = reading(self.record)
        return {
            "error_percent": error,
            "latency_ms": latency_ms,
            "latency_low_ms": latency.low_ms,
            "latency_high_ms": latency.high_ms,
        } | {key: self.record.costs[key] for key in ("params", "macs", "memory_bytes")}

    def load(self) -> nn.Module:
        """Return the trained module in eval mode, on the CPU: images (n, 3, h, w) in [0, 1] -> logits (n, classes).

        Raises InputError if its weights are missing.
        """
        return trial_module(self.loaded, self.record).eval()

    def export(self, folder: Path | str, *, device: str | None = None, progress: bool = True) -> ExportedModel:
        """Export the trained network as a model folder and score it on the test images.

        `device` also measures the exported files there. Raises InputError if the weights are missing or the folder
        cannot be written, ExportError if a file does not reproduce the network, and MeasurementError if the measurement
        fails.
        """
        folder, tell = Path(folder), printer(console(progress))
        target = device_for_files(device) if device else None
        return export_trial(self.loaded, self.trial, folder, lambda file: tell(str(folder / file)), target)

    def retrain(
        self,
        folder: Path | str,
        *,
        recipe: str | Recipe = "fast",
        epochs: int | None = None,
        seeds: int = 1,
        data: Data | None = None,
        device: str | None = None,
        progress: bool = True,
    ) -> ExportedModel:
        """Train the network on all training images, export it, and score it on the test images.

        `recipe` is a training recipe or its name, and `epochs` overrides its epochs. With `seeds` above 1, the training
        is repeated with other seeds, and the first network is exported. `data` replaces the images of the study. Call
        it again with the same folder to resume an interrupted training. Raises InputError for invalid values,
        TrainingFailed if a training gives no score, and the errors of `export`.
        """
        require(type(seeds) is int and seeds >= 1, "seeds", seeds, "a whole number, at least 1")
        images = None if data is None else as_settings(data)
        assignment = trial_assignment(self.loaded, self.trial, _recipe(recipe, epochs), range(seeds), images)
        return train_and_export(
            assignment, Path(folder), device_for_files(device) if device else None, console(progress)
        )

    def __repr__(self) -> str:
        latency_ms, error = self.record.point
        return f"<{type(self).__name__} {self.title} of {self.loaded.spec.name!r}: {error:.2f} %, {latency_ms:.3f} ms>"

    def _repr_html_(self) -> str:
        """The network in a notebook: its values, and its connection schedule as a picture."""
        size, network = self.loaded.spec.input_size, self.record.network
        picture = schedule_svg(network, size, self.title) if network else ""
        return f"<p>{escape(repr(self)[1:-1])}</p>{picture}"


class Pick(TrainedNetwork):
    """A network that was picked from a front, with the reason and a confidence estimate.

    `result` has all values behind the choice, e.g. the neighbors on the front.
    """

    def __init__(self, loaded: LoadedStudy, result: PickResult) -> None:
        super().__init__(loaded, result.record)
        self.result = result

    @property
    def reason(self) -> str:
        """The rule that picked the network."""
        return reason(self.result)

    @property
    def confidence(self) -> float:
        """The share of resamples of the noisy readings in which the rule picks the same network, from 0 to 1."""
        return self.result.confidence.share

    def summary(self) -> str:
        """Return the choice as text: the network, the reason, its neighbors and the confidence estimate."""
        return "\n".join(pick_text(self.result))

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}<pre>{escape(self.summary())}</pre>"


def train(
    network: NetworkSpec,
    folder: Path | str,
    *,
    data: Data,
    recipe: str | Recipe = "fast",
    epochs: int | None = None,
    seeds: int = 1,
    input_size: int = INPUT_SIZE,
    title: str = "network",
    device: str | None = None,
    progress: bool = True,
) -> ExportedModel:
    """Train a network on the whole training split, export it to `folder`, and score it on the test images.

    `data` is a data set's settings or name, or the path of an ImageFolder tree; `title` appears in the model card. For
    the other arguments and the errors, see `TrainedNetwork.retrain`.
    """
    resolved = ResolvedNetwork(title, "Given as a spec", network, input_size)
    assignment = Assignment(resolved, as_settings(data), _recipe(recipe, epochs), range(seeds))
    return train_and_export(assignment, Path(folder), device_for_files(device) if device else None, console(progress))


def train_and_export(
    assignment: Assignment,
    folder: Path,
    device: Device | None,
    console: "Console",
    tell: Callable[[str], None] | None = None,
) -> ExportedModel:
    """Train and export a network with a progress bar per epoch. Lines are printed, or given to `tell`."""
    tell = tell or printer(console)
    with Screen(console, assignment.network.title) as screen:
        return run_steps(train_network(assignment, folder, screen, device), tell)


def _recipe(recipe: str | Recipe, epochs: int | None) -> Recipe:
    """Return the recipe, given by itself or by its name, with other epochs if given."""
    chosen = recipe_named(recipe) if isinstance(recipe, str) else recipe
    return chosen if epochs is None else replace(chosen, epochs=epochs)
