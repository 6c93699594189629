"""Reading recorded tables: named columns only, shares and percentages, equal networks, and errors in one line."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks_tests.made_up_tables import csv_of

from benchmarks.table_replay.table import Columns, read_csv
from threshnet.errors import InputError

COLUMNS = Columns(latency="ms", final="err", accuracy=False, rungs={"err1": 0.1}, descriptors=("macs",))
HEADER = "id,macs,ms,err1,err"
ROWS = ("a,10,1.5,60,30", "b,20,2.5,50,20", "c,40,3.5,40,10")
CHOOSING = replace(COLUMNS, choices=("left", "right"), descriptors=(), same_as="like")
CHOICES = (
    "like,left,right,ms,err1,err",
    "0,conv,pool,1,60,30",
    "1,pool,conv,2,50,20",
    "0,conv,conv,9,90,90",
    "3,pool,pool,4,30,10",
)


def test_a_table_has_the_named_columns(tmp_path: Path) -> None:
    table = read_csv(csv_of(tmp_path, HEADER, *ROWS), COLUMNS, resumes=True)
    assert (table.name, len(table), table.resumes, table.options) == ("table", 3, True, {})
    assert table.latency.tolist() == [1.5, 2.5, 3.5]
    assert table.errors.tolist() == [[60, 30], [50, 20], [40, 10]]
    assert table.costs.tolist() == [0.1, 1]
    assert table.descriptors == pytest.approx(np.log([[10], [20], [40]]))
    assert table.descriptor_names == ("macs",)
    assert table.choices.shape == (3, 0)


def test_other_columns_may_hold_anything(tmp_path: Path) -> None:
    """Even cells beyond the last column, and rows that end after the last named one."""
    clean = read_csv(csv_of(tmp_path, HEADER, *ROWS), COLUMNS)
    rubbish = [f"{row},{more}" for row, more in zip(ROWS, ("nan,1", '"a,b",,x,y', "inf"), strict=True)]
    found = read_csv(csv_of(tmp_path, f"{HEADER},secret,more", *rubbish), COLUMNS)
    for name in ("latency", "errors", "descriptors"):
        assert (getattr(found, name) == getattr(clean, name)).all()
    for row in ("a,10,1.5,60,30,7", "a,10,1.5,60,30"):
        assert len(read_csv(csv_of(tmp_path, f"{HEADER},secret", row), COLUMNS)) == 1


def test_a_compressed_table_is_the_same(tmp_path: Path) -> None:
    file = csv_of(tmp_path, HEADER, *ROWS)
    compressed = tmp_path / "table.csv.gz"
    compressed.write_bytes(gzip.compress(file.read_bytes()))
    plain, found = read_csv(file, COLUMNS), read_csv(compressed, COLUMNS)
    assert (plain.name, plain.errors.tolist()) == (found.name, found.errors.tolist())


def test_shares_are_percentages_if_all_are_at_most_one(tmp_path: Path) -> None:
    file = csv_of(tmp_path, HEADER, "a,10,1.5,0.6,0.3", "b,20,2.5,1,0.2")
    assert read_csv(file, COLUMNS).errors == pytest.approx(np.array([[60, 30], [100, 20]]))
    file = csv_of(tmp_path, HEADER, "a,10,1.5,0.6,0.3", "b,20,2.5,1.5,0.2")
    assert read_csv(file, COLUMNS).errors == pytest.approx(np.array([[0.6, 0.3], [1.5, 0.2]]))


def test_the_error_of_an_accuracy_is_the_rest_to_100_percent(tmp_path: Path) -> None:
    accuracy = replace(COLUMNS, accuracy=True)
    for rows in (("a,10,1.5,60,70", "b,20,2.5,50,100"), ("a,10,1.5,0.6,0.7", "b,20,2.5,0.5,1")):
        assert read_csv(csv_of(tmp_path, HEADER, *rows), accuracy).errors == pytest.approx(
            np.array([[40, 30], [50, 0]])
        )


def test_descriptors_that_are_not_all_positive_stay_as_they_are(tmp_path: Path) -> None:
    file = csv_of(tmp_path, HEADER, "a,0,1.5,60,30", "b,-3,2.5,50,20", "c,5,3.5,40,10")
    assert read_csv(file, COLUMNS).descriptors.tolist() == [[0], [-3], [5]]


def test_choices_are_indices_of_options_in_their_order(tmp_path: Path) -> None:
    table = read_csv(csv_of(tmp_path, *CHOICES), replace(CHOOSING, same_as=None))
    assert table.options == {"left": ("conv", "pool"), "right": ("pool", "conv")}
    assert table.choices.tolist() == [[0, 0], [1, 1], [0, 1], [1, 0]]
    assert table.by_choices == {(0, 0): 0, (1, 1): 1, (0, 1): 2, (1, 0): 3}
    assert table.descriptors.shape == (4, 0)


def test_a_row_can_stand_for_others(tmp_path: Path) -> None:
    """The third row is the first network, whose outcomes count; its own are not used."""
    table = read_csv(csv_of(tmp_path, *CHOICES), CHOOSING)
    assert len(table) == 3
    assert table.latency.tolist() == [1, 2, 4]
    assert table.errors.tolist() == [[60, 30], [50, 20], [30, 10]]
    assert table.choices.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert table.by_choices == {(0, 0): 0, (1, 1): 1, (0, 1): 0, (1, 0): 2}


@pytest.mark.parametrize(
    ("line", "row", "message"),
    [
        (3, "b,x,2.5,50,20", "column 'macs': 'x' is not a finite number"),
        (4, "c,40,,40,10", "column 'ms': '' is not a positive number"),
        (4, "c,40,0,40,10", "column 'ms': '0' is not a positive number"),
        (2, "a,10,-1.5,60,30", "column 'ms': '-1.5' is not a positive number"),
        (3, "b,20,2.5,nan,20", "column 'err1': 'nan' is not from 0 to 100 %, or from 0 to 1"),
        (3, "b,20,2.5,50,-1", "column 'err': '-1' is not from 0 to 100 %, or from 0 to 1"),
        (3, "b,20,2.5,50,101", "column 'err': '101' is not from 0 to 100 %, or from 0 to 1"),
        (3, "b,inf,2.5,50,20", "column 'macs': 'inf' is not a finite number"),
        (3, "b,20,2.5", "column 'err': the line ends before this column"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(tmp_path: Path, line: int, row: str, message: str) -> None:
    rows = list(ROWS)
    rows[line - 2] = row
    file = csv_of(tmp_path, HEADER, *rows)
    with pytest.raises(InputError) as error:
        read_csv(file, COLUMNS)
    assert str(error.value) == f"{file}, line {line}, {message}"


def test_blank_lines_count_as_lines_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 5, column 'ms'"):
        read_csv(csv_of(tmp_path, HEADER, ROWS[0], "", "", "b,20,fast,50,20"), COLUMNS)


@pytest.mark.parametrize("like", ["4", "-1", "1.5", "2", "x"])
def test_a_row_must_stand_for_one_that_stands_for_itself(tmp_path: Path, like: str) -> None:
    """Row 2 stands for row 0."""
    rows = list(CHOICES)
    rows[2] = rows[2].replace("1", like, 1)
    with pytest.raises(InputError, match=f"line 3, column 'like': '{like}' is not the number of a row, from 0, that"):
        read_csv(csv_of(tmp_path, *rows), CHOOSING)


@pytest.mark.parametrize("name", ["ms", "err", "err1", "macs"])
def test_a_missing_column_is_named_with_those_of_the_file(tmp_path: Path, name: str) -> None:
    file = csv_of(tmp_path, HEADER.replace(name, "other") if name != "err" else HEADER[:-3] + "other", *ROWS)
    with pytest.raises(InputError) as error:
        read_csv(file, COLUMNS)
    header = file.read_text().splitlines()[0].replace(",", ", ")
    assert str(error.value) == f"{file}: has no column {name!r}; its columns are {header}"


def test_a_missing_column_is_named_whatever_the_rows_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no column 'ms'; its columns are id, macs"):
        read_csv(csv_of(tmp_path, "id,macs", "a,10,1.5,60,30"), COLUMNS)


@pytest.mark.parametrize("lines", [(), (HEADER,), ("",)])
def test_a_table_without_rows_is_an_error(tmp_path: Path, lines: tuple[str, ...]) -> None:
    file = csv_of(tmp_path, *lines)
    with pytest.raises(InputError) as error:
        read_csv(file, COLUMNS)
    assert str(error.value) == f"{file}: has no rows"


def test_unreadable_files_are_errors(tmp_path: Path) -> None:
    compressed = gzip.compress("".join(f"{row}\n" for row in (HEADER, *ROWS)).encode())
    broken = {
        "text.csv.gz": b"id,macs",
        "cut.csv.gz": compressed[:-12],
        "changed.csv.gz": compressed[:15] + b"\xff\xff\xff" + compressed[18:],
        "binary.csv": b"id,macs\n\xff\xfe",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    for name in (*broken, "missing.csv", "."):
        with pytest.raises(InputError) as error:
            read_csv(tmp_path / name, COLUMNS)
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(error.value)
