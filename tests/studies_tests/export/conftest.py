"""A trained trial and its exported folder, made once for all files of this suite."""

from pathlib import Path

import pytest
from studies_tests.small import small_spec, write_tree

from studies.export.folder import export_trial
from studies.study import LoadedStudy, launch_study, load_study

CAVEAT = "Noise: bright and dark"


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> LoadedStudy:
    """A study of one network, measured and trained for real."""
    folder = tmp_path_factory.mktemp("study")
    spec = small_spec(write_tree(folder / "tree"), trials=1, caveat=CAVEAT, runtimes=("onnxruntime",))
    launch_study(spec, f"journal:{folder / 'study.log'}", runs=folder / "runs")
    return load_study("small", f"journal:{folder / 'study.log'}", runs=folder / "runs")


@pytest.fixture(scope="session")
def exported(study: LoadedStudy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of the exported trial, and the files that the export reported."""
    folder = tmp_path_factory.mktemp("model") / "new"
    reported: list[str] = []
    export_trial(study, 0, folder, reported.append)
    return folder, reported
