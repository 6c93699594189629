"""ThreshNet NAS in one import: `import threshnet_nas as tn`.

Launch a study with `launch`, load it with `load`, look at its front, pick a network, and export it. All names here are
documented in the Python API reference and stay compatible; modules below are internal.
"""

from threshnet_nas import shadow

shadow.check()  # before the imports below, which would fail with a misleading error

from search.data import DataSettings, ImageData
from search.datasets.named import DATASETS
from search.latency.compare import Comparison
from search.latency.protocol import MeasurementError, Protocol
from search.latency.reading import Latency
from search.progress import StudyProgress
from search.records import Record, reading
from search.samplers.named import SAMPLERS
from search.training.recipes import RECIPES, Recipe
from search.training.train import TrainingFailed
from space import DEFAULT, SMALL_IMAGES, SPACES, Choice, Limits, Space, contains, decode, encode, size, suggest
from studies.export.check import FolderCheck, check_folder
from studies.export.folder import ExportedModel
from studies.export.trained import Pick, TrainedNetwork, train
from studies.library import Front, Study, compare, launch, load, measure
from studies.retraining.outcome import Retrained
from studies.retraining.results import MeanError, RetrainedNetwork
from studies.retraining.retrain import retrain
from studies.spec import StudySpec, find_spec
from threshnet import NAMED, BlockSpec, InputError, NetworkSpec, StemSpec, __version__, named
from threshnet.costs import Costs, count
from threshnet.drawing import schedule_svg
from threshnet.export.folder import ExportError
from threshnet.network import ThreshNet, build
from threshnet.schedules import THRESHOLD_NAMES, kept_links, schedule, strength
from threshnet.shapes import Row, walk

__all__ = [
    "DATASETS",
    "DEFAULT",
    "NAMED",
    "RECIPES",
    "SAMPLERS",
    "SMALL_IMAGES",
    "SPACES",
    "THRESHOLD_NAMES",
    "BlockSpec",
    "Choice",
    "Comparison",
    "Costs",
    "DataSettings",
    "ExportError",
    "ExportedModel",
    "FolderCheck",
    "Front",
    "ImageData",
    "InputError",
    "Latency",
    "Limits",
    "MeanError",
    "MeasurementError",
    "NetworkSpec",
    "Pick",
    "Protocol",
    "Recipe",
    "Record",
    "Retrained",
    "RetrainedNetwork",
    "Row",
    "Space",
    "StemSpec",
    "Study",
    "StudyProgress",
    "StudySpec",
    "ThreshNet",
    "TrainedNetwork",
    "TrainingFailed",
    "__version__",
    "build",
    "check_folder",
    "compare",
    "contains",
    "count",
    "decode",
    "encode",
    "find_spec",
    "kept_links",
    "launch",
    "load",
    "measure",
    "named",
    "reading",
    "retrain",
    "schedule",
    "schedule_svg",
    "size",
    "strength",
    "suggest",
    "train",
    "walk",
]


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return __all__
