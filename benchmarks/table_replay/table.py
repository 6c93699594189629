"""A table of recorded trainings: the choices, descriptors, latency and errors of a finite set of networks."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from threshnet.errors import InputError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV file that make a table. No other column is read."""

    latency: str
    # Error or accuracy at the end of training. Values are percentages, or shares if all are at most 1.
    final: str
    # Whether `final` and the rungs are accuracies. Their errors are 100 % minus the accuracy.
    accuracy: bool
    # Errors (or accuracies) after shorter trainings, and the cost of each of these trainings in full trainings.
    rungs: Mapping[str, float]
    choices: tuple[str, ...] = ()
    descriptors: tuple[str, ...] = ()
    # Column that names the row, counted from 0, that stands for this row. A row that stands for itself is a network.
    same_as: str | None = None


@dataclass(frozen=True)
class Table:
    """n distinct networks with the outcome of each of their trainings."""

    name: str
    # Column and options of each of c choices. The options are in order of their first appearance.
    options: Mapping[str, tuple[str, ...]]
    # Index of the option of each choice, (n, c).
    choices: Codes
    # Choices (m, c) of all rows, and the network (m,) that each row stands for.
    row_choices: Codes
    row_networks: Codes
    # Descriptors known before training, (n, d): the log of columns that are positive, other columns as they are.
    descriptors: Floats
    descriptor_names: tuple[str, ...]
    # Latency in ms, (n,), or another positive quantity that takes its place.
    latency: Floats
    # Error in percent at each rung and at the end, (n, r).
    errors: Floats
    # Cost of a training to each rung from scratch, (r,); the last one is 1.
    costs: Floats
    # Whether the rungs are scores of one training, so that resuming it costs the difference. Otherwise, every rung is
    # a training of its own, from scratch.
    resumes: bool = False

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.latency)

    @cached_property
    def by_choices(self) -> dict[tuple[int, ...], int]:
        """The network of each combination of choices in the table."""
        rows = map(tuple, self.row_choices.tolist())
        return dict(zip(rows, self.row_networks.tolist(), strict=True))


def read_csv(file: Path, columns: Columns, *, resumes: bool = False) -> Table:
    """Read a table from a CSV file, which may be compressed (.gz). Raises InputError with the column and the line."""
    try:
        with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as lines:
            rows = _wanted(list(csv.DictReader(lines)), columns, file)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: {error}") from error
    latency = _numbers(rows[columns.latency], columns.latency, file)
    if (latency <= 0).any():
        raise InputError(f"{file}, column {columns.latency!r}: must be positive")
    scores = np.column_stack([_numbers(rows[name], name, file) for name in (*columns.rungs, columns.final)])
    scores = 100 * scores if scores.max() <= 1 else scores
    if scores.min() < 0 or scores.max() > 100:
        raise InputError(f"{file}: errors and accuracies must be from 0 to 100 %, or from 0 to 1")
    described = [_numbers(rows[name], name, file) for name in columns.descriptors]
    options = {name: tuple(dict.fromkeys(rows[name])) for name in columns.choices}
    codes = [[options[name].index(value) for value in rows[name]] for name in columns.choices]
    row_choices = np.array(codes, dtype=np.int64).reshape(len(codes), len(latency)).T
    stands_for = np.arange(len(latency))
    if columns.same_as:
        stands_for = _numbers(rows[columns.same_as], columns.same_as, file).astype(np.int64)
        if (stands_for < 0).any() or (stands_for >= len(latency)).any() or (stands_for[stands_for] != stands_for).any():
            raise InputError(f"{file}, column {columns.same_as!r}: must name rows that stand for themselves")
    networks, row_networks = np.unique(stands_for, return_inverse=True)
    return Table(
        name=file.name.removesuffix(".gz").removesuffix(".csv"),
        options=options,
        choices=row_choices[networks],
        row_choices=row_choices,
        row_networks=row_networks,
        descriptors=np.array([log_if_positive(each) for each in described]).reshape(len(described), -1).T[networks],
        descriptor_names=columns.descriptors,
        latency=latency[networks],
        errors=(100 - scores if columns.accuracy else scores)[networks],
        costs=np.array([*columns.rungs.values(), 1.0]),
        resumes=resumes,
    )


def log_if_positive(values: Floats) -> Floats:
    """Return the logs of values (n,) if all are positive, otherwise the values."""
    return np.log(values) if len(values) and values.min() > 0 else values


def _wanted(rows: Sequence[Mapping[str, str]], columns: Columns, file: Path) -> dict[str, list[str]]:
    """Return the values of the named columns only."""
    wanted = [columns.latency, columns.final, *columns.rungs, *columns.choices, *columns.descriptors]
    wanted += [columns.same_as] if columns.same_as else []
    if not rows:
        raise InputError(f"{file}: has no rows")
    if missing := [name for name in wanted if name not in rows[0]]:
        raise InputError(f"{file}: has no column {missing[0]!r}; its columns are {', '.join(rows[0])}")
    return {name: [row[name] for row in rows] for name in wanted}


def _numbers(values: Sequence[str], column: str, file: Path) -> Floats:
    numbers = np.empty(len(values))
    for place, value in enumerate(values):
        try:
            numbers[place] = float(value)
        except (TypeError, ValueError):
            numbers[place] = np.nan
        if not np.isfinite(numbers[place]):
            raise InputError(f"{file}, line {place + 2}, column {column!r}: {value!r} is not a finite number")
    return numbers
