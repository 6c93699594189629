"""A study analysed: its fronts and its progress, each computed once, and the files that report them."""

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

    `backend` restricts it to the front on one backend; by default it has those of all backends. `storage` is where the
    study lies, for the commands that its reports print.
    """

    def __init__(self, study: LoadedStudy, storage: str = DEFAULT_STORAGE, backend: str | None = None) -> None:
        self.study, self.storage, self.backend = study, storage, backend

    @cached_property
    def fronts(self) -> tuple[Front, ...]:
        """The fronts, the objective's first. Raises InputError if no network is trained or none was measured there."""
        return fronts_of(self.study) if self.backend is None else (front_of(self.study, self.backend),)

    @property
    def front(self) -> Front:
        """The front on the objective's backend, or on the one asked for."""
        return self.fronts[0]

    @cached_property
    def progress(self) -> StudyProgress:
        """Hypervolume over cost and its plateau, on the objective's backend. Raises ValueError if none is trained."""
        return progress_of(self.study)

    def to_json(self) -> dict[str, Any]:
        """The fronts and the progress as JSON-ready values: the content of `front.json`."""
        return results.results_json(self.fronts, self.progress)

    def write(
        self, *, html: Path | None = None, png: Path | None = None, csv: Path | None = None, folder: Path | None = None
    ) -> Iterator[str]:
        """Write the reports asked for, see `studies.report.results.write`; yields a line per file."""
        return results.write(
            self.study, self.fronts, self.progress, storage=self.storage, html=html, png=png, csv=csv, folder=folder
        )


def analyse(
    name: str, storage: str = DEFAULT_STORAGE, *, runs: Path = DEFAULT_RUNS, backend: str | None = None
) -> StudyAnalysis:
    """The analysis of the study called `name`. Raises InputError if there is none."""
    return StudyAnalysis(load(name, storage, runs=runs), storage, backend)
