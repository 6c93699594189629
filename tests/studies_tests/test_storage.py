"""Storages: both kinds open, and an unusable one is reported with the reason."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage

from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE, default_storage
from studies.storage import open_storage, place_options, shown
from threshnet import InputError

KINDS = {"sqlite": "sqlite:///", "journal": "journal:"}
each_kind = pytest.mark.parametrize("prefix", KINDS.values(), ids=KINDS.keys())


def error_of(call: Callable[[], object]) -> str:
    """Return the one-line error of a call."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@each_kind
def test_a_reopened_storage_contains_its_studies(prefix: str, tmp_path: Path) -> None:
    url = f"{prefix}{tmp_path / 'studies'}"
    storage = open_storage(url, create=True)
    assert isinstance(storage, RDBStorage if prefix.startswith("sqlite") else JournalStorage)
    optuna.create_study(study_name="one", storage=storage)
    assert optuna.get_all_study_names(open_storage(url, create=False)) == ["one"]
    assert optuna.get_all_study_names(open_storage(url, create=True)) == ["one"]


@each_kind
def test_a_missing_file_is_created_only_on_request(prefix: str, tmp_path: Path) -> None:
    file = tmp_path / "studies"
    error = error_of(lambda: open_storage(f"{prefix}{file}", create=False))
    assert f"'{prefix}{file}'" in error
    assert f"there is no file {file}" in error
    assert not file.exists()
    open_storage(f"{prefix}{file}", create=True)
    assert file.is_file()


@each_kind
def test_a_missing_folder_is_reported(prefix: str, tmp_path: Path) -> None:
    error = error_of(lambda: open_storage(f"{prefix}{tmp_path / 'gone' / 'studies'}", create=True))
    assert f"there is no folder {tmp_path / 'gone'}" in error
    assert not (tmp_path / "gone").exists()


@each_kind
def test_a_folder_is_rejected_as_a_storage(prefix: str, tmp_path: Path) -> None:
    for create in (True, False):
        error = error_of(lambda create=create: open_storage(f"{prefix}{tmp_path}", create=create))  # type: ignore[misc]
        assert f"storage '{prefix}{tmp_path}' cannot be used: " in error


@each_kind
@pytest.mark.skipif(sys.platform != "linux", reason="needs the /proc of Linux, in which not even root can write")
def test_a_folder_without_permission_is_reported(prefix: str) -> None:
    error = error_of(lambda: open_storage(f"{prefix}/proc/studies", create=True))
    assert f"storage '{prefix}/proc/studies' cannot be used: " in error


@each_kind
@pytest.mark.parametrize("content", [b"no database\n" * 100, b'{"a": 1}\n' * 3, b"[]\n[]\n", b"\xff\n" * 300])
def test_a_file_that_is_not_a_storage_is_reported(prefix: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "studies"
    file.write_bytes(content)
    for create in (True, False):
        error = error_of(lambda create=create: open_storage(f"{prefix}{file}", create=create))  # type: ignore[misc]
        assert f"storage '{prefix}{file}' cannot be used: " in error
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("", ["sqlite:///threshnet.db", "journal:PATH"]),
        ("studies.db", ["sqlite:///threshnet.db", "journal:PATH"]),
        ("journal:", ["must be journal:PATH"]),
        (None, ["storage = None: must be an Optuna URL"]),
        (Path("studies.db"), ["must be an Optuna URL, e.g. sqlite:///threshnet.db, or journal:PATH"]),
        ("nonsense://studies.db", ["cannot be used", "nonsense"]),
        ("postgresql+nodriver://host/db", ["cannot be used"]),
    ],
)
def test_an_invalid_address_is_reported(url: Any, parts: list[str]) -> None:  # noqa: ANN401 - any value
    error = error_of(lambda: open_storage(url, create=True))
    assert error.startswith((f"storage {url!r} cannot be used", f"storage = {url!r}: must be"))
    for part in parts:
        assert part in error


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///my runs/study.db", "sqlite:///my runs/study.db"),
        ("sqlite:////var/study.db", "sqlite:////var/study.db"),
        ("journal:a?password=b", "journal:a?password=b"),  # a file's name
        ("no address", "no address"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db"),
        ("mysql+pymysql://me:secret@host/db?ssl_key=secret", "mysql+pymysql://me:***@host/db"),
    ],
)
def test_a_storage_is_shown_without_its_password_and_query(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_an_error_names_the_storage_without_its_password_and_query() -> None:
    error = error_of(lambda: open_storage("nonsense://me:secret@host/db?password=hidden", create=True))
    assert "'nonsense://me:***@host/db'" in error
    assert "secret" not in error
    assert "hidden" not in error


@pytest.mark.parametrize(
    ("storage", "runs", "options"),
    [
        (DEFAULT_STORAGE, DEFAULT_RUNS, []),
        ("journal:x.log", DEFAULT_RUNS, ["--storage", "journal:x.log"]),
        (DEFAULT_STORAGE, Path("other place"), ["--runs", "other place"]),
        (
            "postgresql://host/db?password=secret",
            Path("/runs"),
            ["--storage", "postgresql://host/db", "--runs", "/runs"],
        ),
    ],
)
def test_printed_commands_contain_the_storage_and_folder_of_a_study_unless_they_are_the_defaults(
    storage: str, runs: Path, options: list[str]
) -> None:
    assert place_options(storage, runs) == options


def test_the_environment_replaces_the_default_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_storage() == DEFAULT_STORAGE
    monkeypatch.setenv("OPTUNA_STORAGE", "journal:x")
    assert default_storage() == "journal:x"
    assert place_options("journal:x", DEFAULT_RUNS, default_storage()) == []
    assert place_options(DEFAULT_STORAGE, DEFAULT_RUNS, default_storage()) == ["--storage", DEFAULT_STORAGE]
    monkeypatch.setenv("OPTUNA_STORAGE", "")
    assert default_storage() == DEFAULT_STORAGE


def test_an_error_names_the_environment_variable_of_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", "foo")
    with pytest.raises(InputError, match=r"storage = 'foo' \(from OPTUNA_STORAGE\): must be an Optuna URL"):
        open_storage("foo", create=True)
