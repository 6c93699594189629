"""Finished trainings: the lines of a JSON Lines file, so that a rerun trains only what is missing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from studies.export.score import Score
from studies.json_lines import read_lines
from threshnet import strict
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

TRAININGS = "trainings.jsonl"


@dataclass(frozen=True)
class FinishedTraining:
    """A training that ran to its end."""

    # The title of the network.
    title: str
    network: NetworkSpec
    seed: int
    # The score on the validation images; None if the network was trained on them.
    validation: Score | None
    # The score on the test images; None if they were not read.
    test: Score | None
    # Wall-clock seconds of all epochs.
    seconds: float
    # The settings that all trainings of the file share, see settings_of.
    settings: dict[str, dict[str, Any]]
    # Processor, threads and versions, see studies.environment.
    environment: dict[str, Any]

    @property
    def key(self) -> tuple[str, int]:
        """The fingerprint of the network, and the seed."""
        return self.network.fingerprint(), self.seed

    def text(self) -> str:
        """Format the errors in one line."""
        errors = {"validation": self.validation, "test": self.test}
        found = [f"{kind} error {score.metric_percent:.2f} %" for kind, score in errors.items() if score]
        return f"{self.title}, seed {self.seed}: {', '.join(found)}"

    def to_json(self) -> dict[str, Any]:
        """Return the line, with the errors in percent and the fingerprint."""
        scores = {"validation": self.validation, "test": self.test}
        return {
            "title": self.title,
            "fingerprint": self.network.fingerprint(),
            "seed": self.seed,
            **{f"{kind}_error_percent": score and score.metric_percent for kind, score in scores.items()},
            **{kind: score and strict.plain(score) for kind, score in scores.items()},
            "seconds": self.seconds,
            "settings": self.settings,
            "environment": self.environment,
            "network": self.network.to_json(),
        }

    @classmethod
    def from_json(cls, line: object, source: str) -> Self:
        """Parse a line. Raises InputError that names `source` if it is not one."""
        if not isinstance(line, dict):
            raise InputError(f"{source}: must be a finished training")
        try:
            scores = {kind: line[kind] and strict.read(line[kind], Score) for kind in ("validation", "test")}
            return cls(
                title=line["title"],
                network=NetworkSpec.from_json(line["network"]),
                seed=line["seed"],
                seconds=line["seconds"],
                settings=line["settings"],
                environment=line["environment"],
                **scores,
            )
        except KeyError as missing:
            raise InputError(f"{source}: key {missing} is missing") from None
        except InputError as error:
            raise InputError(f"{source}: {error}") from None


def read_finished(file: Path) -> list[FinishedTraining]:
    """Read the finished trainings of a file, none if it does not exist. Raises InputError if it is damaged."""
    try:
        lines = read_lines(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from None
    return [FinishedTraining.from_json(line, f"{file}, line {number}") for number, line in enumerate(lines, start=1)]


def require_same_settings(finished: list[FinishedTraining], settings: dict[str, dict[str, Any]], file: Path) -> None:
    """Raise InputError, which names the first setting that differs, if trainings were made with other settings."""
    for training in finished:
        for table, values in settings.items():
            before = training.settings.get(table, {})
            for key, value in values.items():
                if before.get(key) != value:
                    raise InputError(
                        f"{file}: its trainings have {table}.{key} = {json.dumps(before.get(key))}, now it is "
                        f"{json.dumps(value)}; choose another output folder"
                    )
