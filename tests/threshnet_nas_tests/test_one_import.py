"""The public package: every name is importable, typed and documented, and no file of the user hides its packages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import threshnet_nas

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/pages/reference/python.md").read_text()


def test_every_public_name_exists_once() -> None:
    assert len(set(threshnet_nas.__all__)) == len(threshnet_nas.__all__)
    for name in threshnet_nas.__all__:
        assert getattr(threshnet_nas, name) is not None
    assert dir(threshnet_nas) == sorted(threshnet_nas.__all__)


def test_every_public_class_and_function_is_in_the_reference() -> None:
    documented = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", REFERENCE, re.M)}
    public = {name for name in threshnet_nas.__all__ if not name.isupper() and not name.startswith("_")}
    assert public - documented == set()


@pytest.mark.parametrize("name", ["search", "space", "studies", "threshnet"])
def test_a_file_that_hides_a_package_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "mine.py").write_text("import threshnet_nas")
    done = subprocess.run(
        [sys.executable, "mine.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    hidden = f"{tmp_path / name}.py hides the package {name!r} of threshnet-nas; rename it"
    assert done.stderr.splitlines()[-1] == f"ImportError: {hidden}"


def test_a_folder_of_the_same_name_without_code_hides_nothing(tmp_path: Path) -> None:
    for name in ("search", "space", "studies"):
        (tmp_path / name).mkdir()
    code = "from threshnet_nas import shadow; print('fine')"
    environment = {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
