"""Carry out a plan: train, measure all networks in one pass, draw the results, and export one network."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from search.training.train import TrainingFailed
from studies.figures.chrome import NoChrome
from studies.figures.files import write_picture
from studies.figures.front import WIDTH
from studies.retraining.exporting import MODEL, export_retrained
from studies.retraining.finished import TRAININGS, read_finished
from studies.retraining.latencies import MeasurementSettings, latencies
from studies.retraining.outcome import Retrained
from studies.retraining.plan import RetrainingPlan, load_images
from studies.retraining.results import choose, retrained_networks
from studies.retraining.run import RetrainingCallbacks, train_missing
from threshnet.errors import InputError
from threshnet.export.folder import CONFIG, protect_readme

FIGURE = "figure.png"


def carry_out(
    plan: RetrainingPlan,
    measuring: MeasurementSettings,
    folder: Path,
    callbacks: RetrainingCallbacks,
    export: str | None,
) -> Generator[str, None, Retrained]:
    """Do what is missing of a plan in `folder`, and yield lines about it.

    `export` is the fingerprint of the network to export if it is named. Raises InputError if the images or the folder
    cannot be used, TrainingFailed if every training fails, MeasurementError and ExportError.
    """
    protect_readme(folder / MODEL, CONFIG)
    images = load_images(plan, callbacks.loading)
    with _locked(folder):
        yield from images.remarks
        failures = yield from train_missing(plan, images, folder, callbacks)
        finished = read_finished(folder / TRAININGS)
        names = {training.network.fingerprint() for training in finished}
        trained = {name: one.spec for one in plan.networks if (name := one.spec.fingerprint()) in names}
        if not trained:
            raise TrainingFailed("; ".join(failures))
        latency = latencies(trained, plan.input_size, measuring, folder, callbacks.doing)
        networks = retrained_networks(plan, finished, latency)
        retrained = Retrained(
            plan=plan,
            folder=folder,
            networks=networks,
            failures=tuple(failures),
            choice=choose(plan, networks, export),
            trained_on=len(images.train),
            validated_on=None if images.validation is None else len(images.validation),
        )
        callbacks.doing("drawing the figure")
        yield _picture(retrained, folder / FIGURE)
        if retrained.choice:
            callbacks.doing("exporting")
            export_retrained(plan, images, retrained.choice.network, folder, callbacks.wrote)
    return retrained


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder and its subfolders, and keep other processes from training in it."""
    lock = FileLock(folder / "retrain.lock", timeout=0)
    try:
        for each in (folder / "checkpoints", folder / "weights"):
            each.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(f"{folder}: another process is retraining networks in this folder") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        lock.release()


def _picture(retrained: Retrained, file: Path) -> str:
    try:
        write_picture(retrained.figure(), WIDTH, file)
    except NoChrome as reason:
        return f"{file} not written: {reason}"
    return f"wrote {file}"
