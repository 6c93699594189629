"""Run the trainings of a plan that are missing, with a checkpoint after every epoch and a line for each that ended."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from search.data import Split
from search.latency.devices.named import device_named
from search.latency.lease import shared
from search.training.train import TrainingFailed
from studies.environment import environment
from studies.export.resumable import Callbacks, resumable_training
from studies.export.score import Score, score_model
from studies.json_lines import append
from studies.retraining.finished import TRAININGS, FinishedTraining, read_finished, require_same_settings
from studies.retraining.plan import RetrainingImages, RetrainingPlan, settings_of
from threshnet.checkpoint import save_weights
from threshnet.network import ThreshNet
from threshnet.spec import NetworkSpec
from threshnet.spec_file import ResolvedNetwork


class RetrainingCallbacks(Callbacks, Interface):
    """Callbacks that report the progress of a retraining. Each of them may raise KeyboardInterrupt."""

    def counted(self, done: int) -> None:
        """Called at the start and after each training, with the number of finished trainings of the plan."""

    def doing(self, text: str) -> None:
        """Called when other work begins."""


def weights_file(folder: Path, network: NetworkSpec, seed: int) -> Path:
    """Return the file with the trained weights of a network."""
    return folder / "weights" / f"{network.fingerprint()}-{seed}.safetensors"


def train_missing(
    plan: RetrainingPlan,
    images: RetrainingImages,
    folder: Path,
    callbacks: RetrainingCallbacks,
) -> Generator[str, None, list[str]]:
    """Run the trainings of a plan that are not in `folder` yet, and yield lines about them.

    Returns a line for each training that failed; these are tried again in the next run. Raises InputError if the folder
    has trainings with other settings.
    """
    file, settings, failures = folder / TRAININGS, settings_of(plan, images), list[str]()
    earlier = read_finished(file)
    require_same_settings(earlier, settings, file)
    done = {training.key for training in earlier}
    count = sum((network.spec.fingerprint(), seed) in done for seed, network in plan.trainings)
    callbacks.counted(count)
    for seed, network in plan.trainings:
        if (network.spec.fingerprint(), seed) not in done:
            try:
                finished = yield from _train(plan, images, settings, network, seed, folder, callbacks)
            except TrainingFailed as failure:
                failures.append(f"{network.title}, seed {seed}: training failed: {failure}")
                yield failures[-1]
                continue
            append(file, finished.to_json())
            yield finished.text()
            callbacks.counted(count := count + 1)
        _checkpoint(folder, network.spec, seed).unlink(missing_ok=True)
    return failures


def _train(
    plan: RetrainingPlan,
    images: RetrainingImages,
    settings: dict[str, dict[str, Any]],
    network: ResolvedNetwork,
    seed: int,
    folder: Path,
    callbacks: RetrainingCallbacks,
) -> Generator[str, None, FinishedTraining]:
    """Train and score a network with one seed, and save its weights."""
    lease = device_named(plan.trains_on).lease
    training = yield from resumable_training(
        network,
        images.train,
        plan.recipe,
        seed=seed,
        metric=plan.metric,
        data=images.identity,
        file=_checkpoint(folder, network.spec, seed),
        callbacks=callbacks,
        name=f"{network.title}, seed {seed}",
        device=plan.trains_on,
        lease=lease,
    )
    model = training.result(partial(shared, lease))
    finished = FinishedTraining(
        title=network.title,
        network=network.spec,
        seed=seed,
        validation=_score(model, images.validation, plan.metric),
        test=_score(model, images.test, plan.metric),
        seconds=sum(epoch.seconds for epoch in training.epochs),
        settings=settings,
        environment=environment(plan.trains_on),
    )
    save_weights(model, weights_file(folder, network.spec, seed))
    return finished


def _checkpoint(folder: Path, network: NetworkSpec, seed: int) -> Path:
    return folder / "checkpoints" / f"{network.fingerprint()}-{seed}.pt"


def _score(model: ThreshNet, split: Split | None, metric: str) -> Score | None:
    return None if split is None else score_model(model, split, metric)
