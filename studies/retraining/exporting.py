"""Export one retrained network: the weights of its first seed, with the errors of all seeds."""

from collections.abc import Callable
from pathlib import Path

from studies.export.card import ModelInfo
from studies.export.folder import ExportedModel, export_model
from studies.export.images import export_images
from studies.retraining.plan import RetrainingImages, RetrainingPlan
from studies.retraining.results import RetrainedNetwork
from studies.retraining.run import weights_file
from threshnet.checkpoint import load_weights
from threshnet.export.folder import CONFIG
from threshnet.untrusted import read_json

MODEL = "model"


def export_retrained(
    plan: RetrainingPlan,
    images: RetrainingImages,
    chosen: RetrainedNetwork,
    folder: Path,
    wrote: Callable[[str], None],
) -> ExportedModel | None:
    """Export a network to `folder`/model, and return None if it is there already.

    Raises InputError if its weights are missing or the folder cannot be written, and ExportError if a file does not
    reproduce the network.
    """
    output, info = folder / MODEL, _info(plan, images, chosen)
    if _is_exported(output, chosen, info):
        return None
    model = load_weights(weights_file(folder, chosen.network.spec, plan.seeds[0]))
    return export_model(model, output, info, export_images(images.search, images.test, plan.data.title), wrote)


def _info(plan: RetrainingPlan, images: RetrainingImages, chosen: RetrainedNetwork) -> ModelInfo:
    first, network = chosen.trainings[0], chosen.network
    part = "the training split without the validation images" if plan.held_out else "the whole training split"
    scores = {training.seed: training.test for training in chosen.trainings if training.test}
    return ModelInfo(
        title=network.title,
        origin=f"{network.origin}. Trained on {part}, seed {first.seed}",
        input_size=network.input_size,
        classes=images.search.classes,
        recipe=plan.recipe,
        trained_on=f"{len(images.train):,} images of {plan.data.title}",
        validation_error=first.validation.metric_percent if first.validation else None,
        metric=plan.metric,
        latency=(chosen.latency,),
        latency_from="the pass over all retrained networks",
        seeds=scores if len(scores) > 1 else {},
        caveat="; ".join(filter(None, dict.fromkeys((plan.caveat, images.search.caveat)))),
    )


def _is_exported(output: Path, chosen: RetrainedNetwork, info: ModelInfo) -> bool:
    """Return whether a complete folder has this network with these results; the errors are written last."""
    if not (output / CONFIG).exists():
        return False
    config = read_json(output / CONFIG)
    if not isinstance(config, dict):
        return False
    expected = {
        "fingerprint": chosen.fingerprint,
        "validation_error_percent": info.validation_error,
        "test_errors_by_seed": {str(seed): score.to_json() for seed, score in info.seeds.items()},
    }
    measured = [reading["latency_ms"] for reading in config.get("latency", [])]
    return measured == [chosen.latency.latency_ms] and all(
        key in config and config[key] == value for key, value in expected.items()
    )
