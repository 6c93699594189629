"""A table of recorded trainings: the choices, descriptors, latency and errors of a finite set of networks."""

import csv
import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
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
            reader = csv.DictReader(lines)
            by_line = dict((reader.line_num, row) for row in reader)  # noqa: C402 - the number changes with each row
            rows = _wanted(by_line, reader.fieldnames or (), columns, file)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise InputError(f"{file}: {error}") from error
    latency = _numbers(rows[columns.latency], columns.latency, file, lambda value: value > 0, "a positive number")
    scores = np.column_stack(
        [
            _numbers(rows[name], name, file, lambda value: 0 <= value <= 100, "from 0 to 100 %, or from 0 to 1")
            for name in (*columns.rungs, columns.final)
        ]
    )
    scores = 100 * scores if scores.max() <= 1 else scores
    described = [log_if_positive(_numbers(rows[name], name, file)) for name in columns.descriptors]
    options = {name: tuple(dict.fromkeys(rows[name].values())) for name in columns.choices}
    codes = [[options[name].index(value) for value in rows[name].values()] for name in columns.choices]
    row_choices = np.array(codes, dtype=np.int64).reshape(len(codes), len(latency)).T
    stands_for = np.arange(len(latency))
    if columns.same_as:
        stands_for = _stands_for(rows[columns.same_as], columns.same_as, file)
    networks, row_networks = np.unique(stands_for, return_inverse=True)
    return Table(
        name=file.name.removesuffix(".gz").removesuffix(".csv"),
        options=options,
        choices=row_choices[networks],
        row_choices=row_choices,
        row_networks=row_networks,
        descriptors=np.array(described).reshape(len(described), len(latency)).T[networks],
        descriptor_names=columns.descriptors,
        latency=latency[networks],
        errors=(100 - scores if columns.accuracy else scores)[networks],
        costs=np.array([*columns.rungs.values(), 1.0]),
        resumes=resumes,
    )


def log_if_positive(values: Floats) -> Floats:
    """Return the logs of values (n,) if all are positive, otherwise the values."""
    return np.log(values) if len(values) and values.min() > 0 else values


Cells = dict[int, str]  # the cells of a column by their lines in the file


def _wanted(
    rows: Mapping[int, Mapping[str, str | None]], names: Sequence[str], columns: Columns, file: Path
) -> dict[str, Cells]:
    """Return the cells of the named columns only, given the rows by line and the names of all columns."""
    wanted = [columns.latency, columns.final, *columns.rungs, *columns.choices, *columns.descriptors]
    wanted += [columns.same_as] if columns.same_as else []
    if not rows:
        raise InputError(f"{file}: has no rows")
    if missing := [name for name in wanted if name not in names]:
        raise InputError(f"{file}: has no column {missing[0]!r}; its columns are {', '.join(names)}")
    found: dict[str, Cells] = {name: {} for name in wanted}
    for line, row in rows.items():
        for name in wanted:
            cell = row[name]
            if cell is None:
                raise InputError(f"{file}, line {line}, column {name!r}: the line ends before this column")
            found[name][line] = cell
    return found


def _numbers(
    cells: Cells,
    column: str,
    file: Path,
    valid: Callable[[float], bool] = np.isfinite,
    allowed: str = "a finite number",
) -> Floats:
    """Return the numbers in a column; raises InputError if one is not finite and `valid`."""
    numbers = np.empty(len(cells))
    for place, (line, cell) in enumerate(cells.items()):
        try:
            numbers[place] = float(cell)
        except ValueError:
            numbers[place] = np.nan
        if not (np.isfinite(numbers[place]) and valid(float(numbers[place]))):
            raise InputError(f"{file}, line {line}, column {column!r}: {cell!r} is not {allowed}")
    return numbers


def _stands_for(cells: Cells, column: str, file: Path) -> Codes:
    """Return the row that each row stands for; raises InputError unless that row stands for itself."""
    allowed = "the number of a row, from 0, that stands for itself"
    rows = range(len(cells))
    found = _numbers(cells, column, file, lambda value: int(value) == value and int(value) in rows, allowed)
    stands_for = found.astype(np.int64)
    for place, line in enumerate(cells):
        if stands_for[stands_for[place]] != stands_for[place]:
            raise InputError(f"{file}, line {line}, column {column!r}: {cells[line]!r} is not {allowed}")
    return stands_for
