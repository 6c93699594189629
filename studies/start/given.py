"""Images that were given at a launch instead of those of the study file; later launches use them again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search import records
from search.data import DataSettings
from search.datasets.named import dataset_named
from studies.spec import StudySpec
from threshnet.errors import InputError


def given_before(spec: StudySpec, attrs: Mapping[str, Any]) -> str | None:
    """Return the images that were given when a study was launched, from the attributes of the study.

    They are the name of a data set or the path of a folder, None if the launch used the images of the spec. Raises
    InputError if the folder no longer exists.
    """
    given, stored = attrs.get(records.GIVEN), stored_data(attrs)
    if given is None and stored.get("name") == "folder" and spec.dataset.name != "folder":
        given = stored["path"]  # by a version that did not record what was given
    if given is not None and stored.get("name") == "folder" and not Path(given).is_dir():
        raise InputError(
            f"study {spec.name!r} was launched with the images in {given}, which is not a folder now; "
            "if it was moved, launch the study with --data and the new folder"
        )
    return None if given is None else str(given)


def as_launched(given: StudySpec, spec: StudySpec, caveat: str, attrs: Mapping[str, Any]) -> StudySpec:
    """Return the spec with `given` images, with the caveat and the choice of flips of an earlier launch.

    `spec` is the spec without them. A `caveat` replaces the earlier one.
    """
    stored = stored_data(attrs)
    flip = given.flip if "flip" in stored else spec.flip
    return replace(given, caveat=caveat or stored.get("caveat", ""), flip=flip)


def stored_data(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the images in the attributes of a study; empty before its first launch."""
    found: dict[str, Any] = attrs.get(records.SPEC, {}).get("data", {})
    return found


def record_of(data: DataSettings) -> str | None:
    """Return what to record about images that were given: the absolute path of a folder, or the name of a data set.

    None for images in memory, which must be given each time.
    """
    if dataset_named(data.name).home is not None:
        return data.name
    return None if data.path is None else str(data.path.resolve())
