"""A search in memory, or in a file, with stubs for measuring and training."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from optuna.artifacts import FileSystemArtifactStore, download_artifact
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from search_tests.tiny import StubMeasurement, StubTraining, tiny_data

from search import records
from search.objective import FAILURES, Display, NoDisplay, StudyFolders, scorer
from search.records import Record, record
from search.samplers.sampler import Policy
from search.task import Task
from space import encode
from threshnet.checkpoint import load_weights
from threshnet.spec import NetworkSpec

RUNGS = (1, 2, 4)
EPOCH = 40  # images


class Searching:
    """A study in memory with stubs for measuring and training."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.training = StubTraining(self.log)
        self.monkeypatch, self.folder = monkeypatch, folder
        monkeypatch.setattr("search.objective.measure_on", StubMeasurement(self.log))
        monkeypatch.setattr("search.objective.train", self.training)
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "weights").mkdir()
        self.folders = StudyFolders(FileSystemArtifactStore(folder / "weights"), folder / "checkpoints")
        self.study = optuna.create_study(directions=["minimize", "minimize"])

    def timed(self, milliseconds: Callable[[NetworkSpec], float]) -> None:
        """Set the latencies of networks."""
        self.monkeypatch.setattr("search.objective.measure_on", StubMeasurement(self.log, milliseconds))

    def score(
        self,
        spec: NetworkSpec,
        task: Task,
        policy: Policy,
        *,
        named: str | None = None,
        display: Display | None = None,
    ) -> Record:
        """Score one network."""
        attrs = {records.NAMED: named} if named else None
        self.study.enqueue_trial(encode(task.space, spec), user_attrs=attrs)
        return self.propose(task, policy, display=display)

    def propose(self, task: Task, policy: Policy, *, display: Display | None = None) -> Record:
        """Score the next proposal of the study's queue or sampler."""
        self.log.clear()
        score = scorer(task, tiny_data(), policy, self.folders, display or NoDisplay())
        self.study.optimize(score, n_trials=1, catch=FAILURES)
        return record(self.study.trials[-1])

    def done(self) -> list[str]:
        """The calls of the stubs in the last trial, without the networks."""
        return [entry.split()[0] for entry in self.log]

    def weights(self, one: Record) -> dict[str, torch.Tensor]:
        """The weights that a trial stored."""
        file = self.folder / "model.safetensors"
        assert one.weights is not None
        download_artifact(artifact_store=self.folders.weights, artifact_id=one.weights, file_path=str(file))
        model = load_weights(file)
        file.unlink()
        assert model.spec == one.network
        return model.state_dict()


def journal(folder: Path) -> JournalStorage:
    """The storage that the processes share."""
    return JournalStorage(JournalFileBackend(str(folder / "study.log")))
