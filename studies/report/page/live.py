"""A page that is kept current while its study runs."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from optuna import Study
from optuna.trial import FrozenTrial

from studies.fronts.front import fronts_of
from studies.report.page.file import report_html
from studies.study import progress_of, read_study

MAX_SHARE = 0.05  # maximum share of the time of a study that is spent on writing its page


class LivePage:
    """An Optuna callback that writes the page of a study after a trial, once a network is trained.

    A large page is written less often, so that writing takes at most MAX_SHARE of the time. The page is replaced
    atomically. `storage` and `runs` appear in its commands. If it cannot be written, `warn` is called with the reason,
    once for each reason, and the study continues.
    """

    def __init__(self, path: Path, storage: str, runs: Path, warn: Callable[[str], None]) -> None:
        self.path, self.storage, self.runs, self.warn = path, storage, runs, warn
        self.due = 0.0  # time.monotonic from which the page may be written again
        self.warnings: set[str] = set()

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Write the page if it is due."""
        if time.monotonic() >= self.due:
            self.write(study)

    def write(self, study: Study) -> None:
        """Write the page now."""
        began = time.monotonic()
        loaded = read_study(study, self.runs)
        if not loaded.trained:
            return
        page = report_html(loaded, fronts_of(loaded), progress_of(loaded), self.storage)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self.path, page)
        except OSError as error:
            warning = f"warning: {self.path} not written: {error.strerror}"
            if warning not in self.warnings:
                self.warn(warning)
            self.warnings.add(warning)
        ended = time.monotonic()
        self.due = ended + (ended - began) / MAX_SHARE


def replace_text(path: Path, text: str) -> None:
    """Replace the content of a file at once, so that a reader never sees a part of it."""
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
