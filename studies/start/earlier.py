"""Earlier work that a search learns from: the trials of other studies, and CSV files of trained networks."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from search.earlier import EarlierNetwork, Outcome
from search.records import SPEC, Record, reading, records
from studies.storage import open_study
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

MAX_NETWORKS = 400  # maximum number of networks of one source; of more, a random part is used
COLUMNS = "network, error_percent, and optionally latency_ms, rungs and epochs"


def earlier_networks(names: Sequence[str], storage: str) -> tuple[EarlierNetwork, ...]:
    """Return the networks of each source: the name of a study in the storage, or a CSV file.

    Raises InputError with the source, and in a file with the line and the column, if it cannot be used or has no
    network with an error or a latency.
    """
    found: list[EarlierNetwork] = []
    for source, name in enumerate(names):
        try:
            known = _of_file(Path(name), source) if name.endswith(".csv") else _of_study(name, storage, source)
        except InputError as error:
            raise InputError(f"prior = {name!r}: {error}") from None
        if not known:
            raise InputError(f"prior = {name!r}: has no network with an error or a latency")
        order = np.random.default_rng(source).permutation(len(known))[:MAX_NETWORKS]
        found += [known[place] for place in np.sort(order)]
    return tuple(found)


def _of_study(name: str, storage: str, source: int) -> list[EarlierNetwork]:
    """Return the networks of a study with an error or a latency, each with what its last trial knows."""
    study = open_study(storage, name)
    if SPEC not in study.user_attrs:
        raise InputError("was not made by threshnet launch")
    epochs = study.user_attrs[SPEC]["training"]["epochs"]
    latest: dict[str, Record] = {}
    for record in records(study):
        if record.fingerprint and record.network and (record.rungs or record.latency):
            latest[record.fingerprint] = record
    return [
        EarlierNetwork(
            record.network,
            Outcome(reading(record).latency_ms if record.latency else None, _shares(record.rungs, epochs), source),
        )
        for record in latest.values()
        if record.network
    ]


def _shares(errors: Mapping[int, float], epochs: int) -> dict[float, float]:
    """Return errors keyed by the share of a full training, from errors keyed by epochs."""
    return {done / epochs: error for done, error in errors.items() if done <= epochs}


def _of_file(file: Path, source: int) -> list[EarlierNetwork]:
    """Return the networks of a CSV file, e.g. `trials.csv`; lines without a network are left out."""
    try:
        with file.open(newline="") as lines:
            reader = csv.DictReader(lines)
            names, rows = reader.fieldnames or (), [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(error)) from None
    for column in ("network", "error_percent"):
        if column not in names:
            raise InputError(f"has no column {column!r}; its columns must be {COLUMNS}")
    read = [(line, row, _rungs(row, line)) for line, row in rows if row["network"]]
    longest = max((epochs for _, _, rungs in read for epochs in rungs), default=1)
    found = []
    for line, row, rungs in read:
        epochs = _number(row, "epochs", line)
        shares = _shares(rungs, int(epochs) if epochs else longest)
        at_end = _number(row, "error_percent", line)
        latency_ms = _number(row, "latency_ms", line)
        if latency_ms is not None and latency_ms <= 0:
            raise InputError(f"line {line}, column 'latency_ms': {latency_ms:g} is not above 0")
        shares |= {} if at_end is None else {1.0: at_end}
        if shares or latency_ms:
            found.append(EarlierNetwork(_network(row["network"], line), Outcome(latency_ms, shares, source)))
    return found


def _network(text: str, line: int) -> NetworkSpec:
    """Return the network that a cell describes as JSON."""
    try:
        return NetworkSpec.from_json(json.loads(text))
    except (ValueError, InputError) as error:
        raise InputError(f"line {line}, column 'network': {error}") from None


def _rungs(row: Mapping[str, str], line: int) -> dict[int, float]:
    """Return the errors in percent of a cell by epochs, given as a JSON object."""
    text = row.get("rungs")
    try:
        return {int(epochs): float(error) for epochs, error in json.loads(text).items()} if text else {}
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"line {line}, column 'rungs': {text!r} is not a JSON object of errors by epochs") from None


def _number(row: Mapping[str, str], column: str, line: int) -> float | None:
    """Return the number of a cell, None if it is empty or the column is missing."""
    text = row.get(column)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"line {line}, column {column!r}: {text!r} is not a number")
    return value
