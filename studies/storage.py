"""Storages of studies, given as an Optuna URL or journal:PATH."""

import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from optuna import Study, load_study
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import get_all_study_names
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE, STORAGE_VARIABLE
from threshnet.errors import InputError, require

FORMS = "an Optuna URL, e.g. sqlite:///threshnet.db, or journal:PATH"


def shown(url: str) -> str:
    """Return a storage without password and query, so that it can be printed. The query may also contain a password."""
    if url.startswith("journal:"):
        return url
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    if not (parsed.password or parsed.query):
        return url
    return parsed.set(query={}).render_as_string(hide_password=True)


def hides_secret(url: str) -> bool:
    """Return whether `shown` leaves out a password that is needed to open the storage."""
    return shown(url) != url and not url.startswith("sqlite")


def place_options(storage: str, runs: Path, default: str = DEFAULT_STORAGE) -> list[str]:
    """Return the command-line options for the storage and the weights folder, unless they are the defaults.

    `default` is the storage of commands without --storage: `default_storage()` in the shell that runs this process.
    """
    options = [] if storage == default else ["--storage", shown(storage)]
    return options if runs == DEFAULT_RUNS else [*options, "--runs", str(runs)]


def export_parts(study: str, options: Sequence[str]) -> tuple[str, str]:
    """Return the parts of the command that exports a trial. The trial number follows after each of the two parts.

    For `options`, see place_options. The output folder is STUDY-trialN.
    """
    before = shlex.join(["threshnet", "export", study, "--trial"])
    after = shlex.join([*options, "-o", f"{study}-trial"])
    return f"{before} ", f" {after}"


def export_command(study: str, trial: int, options: Sequence[str]) -> str:
    """Return the command that exports a trial of a study."""
    return "".join(f"{part}{trial}" for part in export_parts(study, options))


def open_storage(url: str, *, create: bool) -> BaseStorage:
    """Open a storage. Raises InputError if it cannot be used, or if its file is missing and `create` is false."""
    logging.getLogger("alembic").setLevel(logging.ERROR)
    require(isinstance(url, str), "storage", url, FORMS)
    where, file = f"storage {shown(url)!r}{_origin(url)}", _file(url)
    if file is not None:
        if not create and not file.exists():
            raise InputError(f"{where}: there is no file {file}; launch a study first, or name another storage")
        if not file.parent.is_dir():
            raise InputError(f"{where}: there is no folder {file.parent}")
    try:
        if url.startswith("journal:"):
            path = str(file)
            if create:
                Path(path).touch()
            return JournalStorage(JournalFileBackend(path))
        return RDBStorage(url)
    except (SQLAlchemyError, OSError, ImportError, RuntimeError, ValueError) as error:
        raise InputError(f"{where} cannot be used: {reason(error)}") from None
    except (KeyError, TypeError, AttributeError):  # optuna raises these for other JSON lines
        raise InputError(f"{where} cannot be used: its lines are not those of an Optuna journal") from None


def find_study(url: str, name: str) -> Study | None:
    """Return a study, or None if the storage or the study does not exist. Raises InputError for an unusable storage."""
    file = _file(url) if isinstance(url, str) else None
    if file is not None and not file.exists():
        return None
    storage = open_storage(url, create=False)
    return load_study(study_name=name, storage=storage) if name in get_all_study_names(storage) else None


def open_study(url: str, name: str) -> Study:
    """Return a study. Raises InputError, which lists all studies, if it does not exist."""
    storage = open_storage(url, create=False)
    names = get_all_study_names(storage)
    if name not in names:
        there = f"it has {', '.join(sorted(names))}" if names else "it has none"
        raise InputError(f"no study is named {name!r} in {shown(url)!r}; {there}")
    return load_study(study_name=name, storage=storage)


def reason(error: BaseException) -> str:
    """Return the first line of an error message, or the type of the error if the message is empty."""
    original = getattr(error, "orig", None) or error.__cause__ or error
    original = getattr(original, "orig", original)
    return (str(original).strip() or type(original).__name__).splitlines()[0]


def _origin(url: str) -> str:
    """Return a remark if the storage is the one in the environment variable, otherwise an empty text."""
    return f" (from {STORAGE_VARIABLE})" if url == os.environ.get(STORAGE_VARIABLE) else ""


def _file(url: str) -> Path | None:
    """Return the file that a storage URL points to, or None if the URL points to a server."""
    if url.startswith("journal:"):
        path = url.removeprefix("journal:")
        if not path:
            raise InputError(f"storage = {url!r}{_origin(url)}: must be journal:PATH")
        return Path(path)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InputError(f"storage = {shown(url)!r}{_origin(url)}: must be {FORMS}") from None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
