"""Storages: both kinds open, and one that cannot be used is named with the reason."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage

from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE
from studies.storage import open_storage, place_options, shown
from threshnet import InputError

KINDS = {"sqlite": "sqlite:///", "journal": "journal:"}
each_kind = pytest.mark.parametrize("prefix", KINDS.values(), ids=KINDS.keys())


def refused(call: Callable[[], object]) -> str:
    """The one line with which bad input is refused."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@each_kind
def test_a_study_is_found_again(prefix: str, tmp_path: Path) -> None:
    url = f"{prefix}{tmp_path / 'studies'}"
    storage = open_storage(url, create=True)
    assert isinstance(storage, RDBStorage if prefix.startswith("sqlite") else JournalStorage)
    optuna.create_study(study_name="one", storage=storage)
    assert optuna.get_all_study_names(open_storage(url, create=False)) == ["one"]
    assert optuna.get_all_study_names(open_storage(url, create=True)) == ["one"]


@each_kind
def test_a_file_that_is_not_there_is_only_created_on_demand(prefix: str, tmp_path: Path) -> None:
    file = tmp_path / "studies"
    said = refused(lambda: open_storage(f"{prefix}{file}", create=False))
    assert f"'{prefix}{file}'" in said
    assert f"there is no file {file}" in said
    assert not file.exists()
    open_storage(f"{prefix}{file}", create=True)
    assert file.is_file()


@each_kind
def test_a_folder_that_is_not_there_is_named(prefix: str, tmp_path: Path) -> None:
    said = refused(lambda: open_storage(f"{prefix}{tmp_path / 'gone' / 'studies'}", create=True))
    assert f"there is no folder {tmp_path / 'gone'}" in said
    assert not (tmp_path / "gone").exists()


@each_kind
def test_a_folder_is_no_storage(prefix: str, tmp_path: Path) -> None:
    for create in (True, False):
        said = refused(lambda create=create: open_storage(f"{prefix}{tmp_path}", create=create))  # type: ignore[misc]
        assert f"storage '{prefix}{tmp_path}' cannot be used: " in said


@each_kind
@pytest.mark.skipif(sys.platform != "linux", reason="/proc, where not even root can write, is a thing of Linux")
def test_a_folder_without_permission_is_named(prefix: str) -> None:
    said = refused(lambda: open_storage(f"{prefix}/proc/studies", create=True))
    assert f"storage '{prefix}/proc/studies' cannot be used: " in said


@each_kind
@pytest.mark.parametrize("content", [b"no database\n" * 100, b'{"a": 1}\n' * 3, b"[]\n[]\n", b"\xff\n" * 300])
def test_a_file_that_is_no_storage_is_named(prefix: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "studies"
    file.write_bytes(content)
    for create in (True, False):
        said = refused(lambda create=create: open_storage(f"{prefix}{file}", create=create))  # type: ignore[misc]
        assert f"storage '{prefix}{file}' cannot be used: " in said
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
def test_an_invalid_storage_is_named(url: Any, parts: list[str]) -> None:  # noqa: ANN401 - any value
    said = refused(lambda: open_storage(url, create=True))
    assert said.startswith((f"storage {url!r} cannot be used", f"storage = {url!r}: must be"))
    for part in parts:
        assert part in said


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


def test_a_refusal_names_the_storage_without_its_password_and_query() -> None:
    said = refused(lambda: open_storage("nonsense://me:secret@host/db?password=hidden", create=True))
    assert "'nonsense://me:***@host/db'" in said
    assert "secret" not in said
    assert "hidden" not in said


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
def test_a_command_says_where_a_study_lies_unless_that_is_the_default(
    storage: str, runs: Path, options: list[str]
) -> None:
    assert place_options(storage, runs) == options
