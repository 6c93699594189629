"""Where studies are kept: an Optuna URL or journal:PATH."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE
from threshnet.errors import InputError, require

FORMS = "an Optuna URL, e.g. sqlite:///threshnet.db, or journal:PATH"


def shown(url: str) -> str:
    """A storage as it may be printed: without the password of a URL and without its query, which may hold one too."""
    if url.startswith("journal:"):
        return url
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    if not (parsed.password or parsed.query):
        return url
    return parsed.set(query={}).render_as_string(hide_password=True)


def place_options(storage: str, runs: Path) -> list[str]:
    """The command-line options for the storage and the folder of the weights; none for the defaults."""
    options = [] if storage == DEFAULT_STORAGE else ["--storage", shown(storage)]
    return options if runs == DEFAULT_RUNS else [*options, "--runs", str(runs)]


def export_parts(study: str, options: Sequence[str]) -> tuple[str, str]:
    """The command that exports a trial, as the texts before each of the two occurrences of the trial's number.

    `options` locate the study, see place_options. The folder to write is STUDY-trialN.
    """
    before = shlex.join(["threshnet", "export", study, "--trial"])
    after = shlex.join([*options, "-o", f"{study}-trial"])
    return f"{before} ", f" {after}"


def export_command(study: str, trial: int, options: Sequence[str]) -> str:
    """The command that exports a trial of a study."""
    return "".join(f"{part}{trial}" for part in export_parts(study, options))


def open_storage(url: str, *, create: bool) -> BaseStorage:
    """Open a storage; without `create`, a file that does not exist is an InputError, as is one that cannot be used."""
    logging.getLogger("alembic").setLevel(logging.ERROR)
    require(isinstance(url, str), "storage", url, FORMS)
    file = _file(url)
    if file is not None:
        if not create and not file.exists():
            raise InputError(
                f"storage {shown(url)!r}: there is no file {file}; launch a study first, or name another storage"
            )
        if not file.parent.is_dir():
            raise InputError(f"storage {shown(url)!r}: there is no folder {file.parent}")
    try:
        if url.startswith("journal:"):
            path = str(file)
            if create:
                Path(path).touch()
            return JournalStorage(JournalFileBackend(path))
        return RDBStorage(url)
    except (SQLAlchemyError, OSError, ImportError, RuntimeError, ValueError) as error:
        raise InputError(f"storage {shown(url)!r} cannot be used: {reason(error)}") from None
    except (KeyError, TypeError, AttributeError):  # what optuna makes of JSON lines of another kind
        raise InputError(
            f"storage {shown(url)!r} cannot be used: its lines are not those of an Optuna journal"
        ) from None


def reason(error: BaseException) -> str:
    """The first line of what went wrong; the kind of the error where it says nothing."""
    original = getattr(error, "orig", None) or error.__cause__ or error
    original = getattr(original, "orig", original)
    return (str(original).strip() or type(original).__name__).splitlines()[0]


def _file(url: str) -> Path | None:
    """The file behind a storage URL; None for a server."""
    if url.startswith("journal:"):
        path = url.removeprefix("journal:")
        if not path:
            raise InputError(f"storage = {url!r}: must be journal:PATH")
        return Path(path)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InputError(f"storage = {shown(url)!r}: must be {FORMS}") from None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
