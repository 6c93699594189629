"""The analysis of a study: its fronts and its progress, each computed only once, and its report files."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from search.convergence import StudyProgress
from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE
from studies.fronts.front import Front, front_of, fronts_of
from studies.report import results
from studies.study import LoadedStudy, load, progress_of


class StudyAnalysis:
    """The fronts and the progress of a loaded study.

    If `backend` is given, only the front on that backend is computed. By default, there is a front for each backend.
    `storage` is the storage of the study. It appears in the commands that the reports print.
    """

    def __init__(self, study: LoadedStudy, storage: str = DEFAULT_STORAGE, backend: str | None = None) -> None:
        self.study, self.storage, self.backend = study, storage, backend

    @cached_property
    def fronts(self) -> tuple[Front, ...]:
        """The fronts, the objective's backend first. Raises InputError if no network was trained and measured."""
        return fronts_of(self.study) if self.backend is None else (front_of(self.study, self.backend),)

    @property
    def front(self) -> Front:
        """The front on the objective's backend, or on `backend` if given."""
        return self.fronts[0]

    @cached_property
    def progress(self) -> StudyProgress:
        """Hypervolume over cost and plateau on the objective's backend. Raises ValueError if no network is trained."""
        return progress_of(self.study)

    def to_json(self) -> dict[str, Any]:
        """Return the fronts and the progress as JSON-ready values, the content of `front.json`."""
        return results.results_json(self.fronts, self.progress)

    def write(
        self, *, html: Path | None = None, png: Path | None = None, csv: Path | None = None, folder: Path | None = None
    ) -> Iterator[str]:
        """Write the requested reports and yield a line for each file. See `studies.report.results.write`."""
        return results.write(
            self.study, self.fronts, self.progress, storage=self.storage, html=html, png=png, csv=csv, folder=folder
        )


def analyse(
    name: str, storage: str = DEFAULT_STORAGE, *, runs: Path = DEFAULT_RUNS, backend: str | None = None
) -> StudyAnalysis:
    """Load and analyse the study called `name`. Raises InputError if there is no such study."""
    return StudyAnalysis(load(name, storage, runs=runs), storage, backend)
