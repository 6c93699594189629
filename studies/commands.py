"""Commands of this project as texts to be copied: quoted for a shell, and with no password in them."""

import shlex
from collections.abc import Sequence


def export_parts(study: str, options: Sequence[str]) -> tuple[str, str]:
    """The command that exports a trial, as the texts before either place where the trial's number stands.

    `options` say where the study lies, see studies.storage.place_options. The folder to write is STUDY-trialN.
    """
    before = shlex.join(["threshnet", "export", study, "--trial"])
    after = shlex.join([*options, "-o", f"{study}-trial"])
    return f"{before} ", f" {after}"


def export_command(study: str, trial: int, options: Sequence[str]) -> str:
    """The command that exports a trial of a study."""
    return "".join(f"{part}{trial}" for part in export_parts(study, options))
