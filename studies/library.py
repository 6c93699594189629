"""Studies, fronts and trained networks as Python objects: what `launch` and `load` return."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, overload

import optuna
import pandas as pd
import plotly.graph_objects as go

from search.box import Box
from search.data import Data
from search.latency.compare import LIMIT_S, Comparison, compare_on
from search.latency.devices.named import device_named
from search.latency.measure import measure_on
from search.latency.protocol import DEFAULT_PROTOCOL, Protocol
from search.latency.reading import Latency
from search.progress import StudyProgress
from search.records import Record
from search.run import OptunaCallback, Outcome
from search.volume import plural
from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE, default_storage
from studies.export.folder import trial_record
from studies.export.trained import Pick, TrainedNetwork
from studies.figures.files import figure
from studies.fronts.front import ParetoFront, front_of, fronts_of
from studies.fronts.picking import PickRequest, pick
from studies.network import MeasurableNetwork, measurable_network, measured_size
from studies.report import results
from studies.report.dashboard import annotate
from studies.screen import Screen, console
from studies.spec import StudySpec
from studies.study import LoadedStudy, launch_study, load_study, progress_of, require_trained
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec


def launch(
    spec: StudySpec | str | Path,
    storage: str | None = None,
    *,
    data: Data | None = None,
    caveat: str = "",
    trials: int | None = None,
    budget: float | None = None,
    until_plateau: bool | None = None,
    timeout_s: float | None = None,
    runs: Path | str = DEFAULT_RUNS,
    callbacks: Sequence[OptunaCallback] = (),
    progress: bool | Screen = True,
) -> "Study":
    """Create or resume a study, run it, and return it.

    `spec` is a spec, a TOML file or the name of a built-in study. `storage` is an Optuna storage; None selects the one
    in the environment variable OPTUNA_STORAGE or, if that is not set, sqlite:///threshnet.db. `data` replaces the
    images of the spec, see `StudySpec.data`, and `caveat` is then shown with every number. `trials`, `budget` (in full
    trainings) and `until_plateau` override the settings of the spec, and no new network starts after `timeout_s`
    seconds. `runs` is the folder of weights and checkpoints. `callbacks` are called with the `optuna.Study` and each
    trial that has ended, e.g. Optuna's callbacks for MLflow and Weights & Biases. With `progress`, the progress is
    shown in the terminal or the notebook, or on a screen that is already open.

    An interrupt (Ctrl-C, or the stop button of a notebook) ends the run, and the study is returned as it is; call
    `launch` again to resume it. Raises InputError if the spec, the storage or the images cannot be used, or if the
    study was created with different settings or images.
    """
    title = spec.name if isinstance(spec, StudySpec) else str(spec)
    storage = storage or default_storage()
    opened = nullcontext(progress) if isinstance(progress, Screen) else Screen(console(progress), title)
    with opened as screen, _quiet_optuna():
        loaded, outcome = launch_study(
            spec,
            storage,
            data=data,
            caveat=caveat,
            trials=trials,
            budget=budget,
            until_plateau=until_plateau,
            timeout_s=timeout_s,
            runs=Path(runs),
            callbacks=callbacks,
            display=screen,
            progress=screen.loading,
        )
        annotate(loaded, storage)
        if outcome.ended == "interrupted" and screen is not progress:
            screen.print("stopped; call launch again to resume")
    return Study(loaded, storage, outcome)


def load(name: str, storage: str | None = None, *, runs: Path | str = DEFAULT_RUNS) -> "Study":
    """Load the study called `name`. `storage` is as in `launch`, and `runs` is the folder of its weights.

    Raises InputError, which lists the studies of the storage, if there is no such study.
    """
    storage = storage or default_storage()
    return Study(load_study(name, storage, runs=Path(runs)), storage)


class Study:
    """A study that was launched or loaded: its settings, its trials and its fronts.

    `storage` is the storage of the study; it appears in the commands that reports print. `outcome` is the outcome of
    the launch that returned the study, None if the study was loaded.
    """

    def __init__(self, loaded: LoadedStudy, storage: str = DEFAULT_STORAGE, outcome: Outcome | None = None) -> None:
        self.loaded, self.storage, self.outcome = loaded, storage, outcome

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.loaded.spec.name

    @property
    def spec(self) -> StudySpec:
        """The settings of the study."""
        return self.loaded.spec

    @property
    def optuna(self) -> optuna.Study:
        """The Optuna study."""
        return self.loaded.study

    @property
    def trials(self) -> list[Record]:
        """The records of all trials, in order."""
        return self.loaded.records

    @cached_property
    def fronts(self) -> tuple["Front", ...]:
        """The fronts, one per backend, the objective's first. Raises InputError if no network is trained."""
        return tuple(Front(self, points) for points in fronts_of(self.loaded))

    def front(self, backend: str | None = None) -> "Front":
        """Return the front on the backend of the objective, or on another one, e.g. "cpu torch".

        Raises InputError if no network is trained, or if no network was measured on the backend.
        """
        if backend is None:
            return self.fronts[0]
        found = [front for front in self.fronts if front.backend == backend]
        return found[0] if found else Front(self, front_of(self.loaded, backend))

    @cached_property
    def progress(self) -> StudyProgress:
        """Hypervolume over cost and plateau on the objective's backend. Raises InputError if no network is trained."""
        require_trained(self.loaded)
        return progress_of(self.loaded)

    def network(self, trial: int) -> TrainedNetwork:
        """Return the network of a trained trial. Raises InputError if there is none."""
        return TrainedNetwork(self.loaded, trial_record(self.loaded, trial))

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table with one row per trial, the content of `trials.csv`."""
        return results.trials_table(self.loaded)

    def to_json(self, backend: str | None = None) -> dict[str, Any]:
        """Return the fronts and the progress as JSON-ready values, the content of `front.json`."""
        return results.results_json(self._points(backend), self.progress)

    def write(
        self,
        *,
        html: Path | None = None,
        png: Path | None = None,
        csv: Path | None = None,
        folder: Path | None = None,
        backend: str | None = None,
    ) -> list[str]:
        """Write the requested reports and return a line for each file. See `studies.report.results.write`."""
        written = results.write(
            self.loaded,
            self._points(backend),
            self.progress,
            storage=self.storage,
            html=html,
            png=png,
            csv=csv,
            folder=folder,
        )
        return list(written)

    def _points(self, backend: str | None) -> tuple[ParetoFront, ...]:
        """Return the fronts for a report: all of them, or the one on `backend`."""
        return tuple(front.points for front in (self.fronts if backend is None else (self.front(backend),)))

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {self.loaded.trained} trained networks in {len(self.trials)} trials>"

    def _repr_html_(self) -> str:
        """The study in a notebook: a summary, and the table of its front."""
        if not self.loaded.trained:
            return f"<p>{escape(repr(self))}</p>"
        lines = [f"{self.loaded.trained} trained networks in {len(self.trials)} trials", *self.progress.sentences]
        summary = "<br>".join(map(escape, lines))
        return f"<p><b>Study {escape(self.name)}</b><br>{summary}</p>{self.front()._repr_html_()}"


class Front(Sequence[TrainedNetwork]):
    """The Pareto front of a study on one backend, as a sequence of networks, fastest first.

    The front has the feasible networks that no other feasible network dominates. `points` has the values behind it.
    """

    def __init__(self, study: Study, points: ParetoFront) -> None:
        self.study, self.points = study, points

    @property
    def backend(self) -> str:
        """The device and the runtime of the latencies, e.g. "cpu onnxruntime"."""
        return self.points.backend

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the feasible networks: ln(ms) x percent, or ms x percent if the box is linear."""
        return self.points.hypervolume

    @property
    def share_percent(self) -> float:
        """Hypervolume in percent of the box."""
        return self.points.share_percent

    @property
    def linear_share_percent(self) -> float:
        """Hypervolume on a linear latency axis, in percent of the box from 0 ms."""
        return self.points.linear_share_percent

    @property
    def box(self) -> Box:
        """The box of the hypervolume."""
        return self.points.box

    @property
    def knee(self) -> TrainedNetwork:
        """The network farthest below the line between the ends of the front.

        A front of one or two networks has no knee; this is then its fastest network.
        """
        return TrainedNetwork(self.study.loaded, self.points.picked)

    def __len__(self) -> int:
        return len(self.points.front)

    @overload
    def __getitem__(self, index: int) -> TrainedNetwork: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainedNetwork]: ...

    def __getitem__(self, index: int | slice) -> TrainedNetwork | Sequence[TrainedNetwork]:
        if isinstance(index, slice):
            return [TrainedNetwork(self.study.loaded, record) for record in self.points.front[index]]
        return TrainedNetwork(self.study.loaded, self.points.front[index])

    def pick(
        self,
        *,
        max_latency_ms: float | None = None,
        max_error: float | None = None,
        max_params: float | None = None,
        max_macs: float | None = None,
        knee: bool = False,
        training_noise: float | None = None,
    ) -> Pick:
        """Pick one network within the limits, by validation errors and latencies only.

        With a limit on latency, the most accurate network within it; with a limit on the error (percent), the fastest
        one; otherwise, or with `knee`, the knee of the front within the limits. `training_noise` is the standard
        deviation of an error between training seeds, in points, if known. Raises InputError, which names the nearest
        network, if no network satisfies the limits.
        """
        request = PickRequest(max_latency_ms, max_error, max_params, max_macs, knee)
        images = self.study.loaded.images.get("validation")
        if images is None:
            raise InputError(f"study {self.study.name!r}: its number of validation images is not recorded")
        return Pick(self.study.loaded, pick(self.points, request, int(images), training_noise))

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table with one row per network of the front, fastest first, indexed by its name."""
        rows = [
            {"network": one.title + (" (knee)" if one.record is self.points.knee else ""), "trial": one.trial}
            | one.metrics
            | {"schedule": one.record.schedule}
            for one in self
        ]
        return pd.DataFrame(rows).set_index("network")

    def figure(self) -> go.Figure:
        """Return an interactive figure: all trained networks, with the front as a staircase."""
        return figure([self.points])[0]

    def __repr__(self) -> str:
        return f"<Front of {self.study.name!r} on {self.backend}: {plural(len(self), 'network')}>"

    def _repr_html_(self) -> str:
        """The front in a notebook: its table, and the conditions of the numbers."""
        table = self.to_dataframe().drop(columns=["latency_low_ms", "latency_high_ms", "memory_bytes"])
        notes = [f"Latency on {self.backend}.", *([f"Note: {self.points.caveat}."] if self.points.caveat else [])]
        return f"{table.to_html(float_format='{:.3f}'.format, border=0)}<p>{escape(' '.join(notes))}</p>"


def measure(
    network: NetworkSpec | Path | str,
    *,
    device: str = "cpu",
    runtime: str | None = None,
    input_size: int | None = None,
    protocol: Protocol = DEFAULT_PROTOCOL,
) -> Latency:
    """Measure the latency of a network on a device, e.g. "cpu", "cuda" or "ssh://pi@raspberrypi.local".

    `network` is a spec, an ONNX file, or a text as on the command line: a published network, a JSON or ONNX file,
    STUDY:TRIAL, STUDY:knee, torchvision/NAME or timm/NAME. Studies are in the default storage. `runtime` is by default
    the first one of the device, and `input_size` is the network's own size, or 32 pixels. Raises InputError for invalid
    values, and MeasurementError if the measurement fails.
    """
    target, given = device_named(device), _measurable(network)
    pixels = measured_size([given], input_size, protocol.batch)
    with Screen(console(True), f"{given.title} on {device}") as screen:
        screen.doing("measuring")
        return measure_on(target, given.network, pixels, runtime or target.runtimes[0], protocol)


def compare(
    networks: Sequence[NetworkSpec | Path | str],
    *,
    device: str = "cpu",
    runtime: str | None = None,
    input_size: int | None = None,
    protocol: Protocol = DEFAULT_PROTOCOL,
    limit_s: float = LIMIT_S,
) -> Comparison:
    """Measure several networks in alternating rounds of one run, and compare all pairs. See `measure`.

    The measurement ends when every pair is decided, or when `limit_s` seconds have passed.
    """
    target, given = device_named(device), [_measurable(network) for network in networks]
    pixels = measured_size(given, input_size, protocol.batch)
    networks_given, chosen = [one.network for one in given], runtime or target.runtimes[0]
    with Screen(console(True), f"{len(given)} networks on {device}") as screen:
        screen.doing("comparing")
        return compare_on(target, networks_given, pixels, chosen, protocol, limit_s=limit_s)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Suppress the lines that Optuna logs for each trial, since the screen prints its own.

    Optuna logs a failed or interrupted trial as a warning, with all of its parameters and a traceback.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _measurable(network: NetworkSpec | Path | str) -> MeasurableNetwork:
    if isinstance(network, NetworkSpec):
        return MeasurableNetwork(f"network {network.fingerprint()}", network)
    return measurable_network(str(network))
