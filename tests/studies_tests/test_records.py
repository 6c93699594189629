"""Records that users can create: every field accepts or rejects any value, with a one-line error."""

import dataclasses
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.data import DataSettings
from search.latency.protocol import Protocol
from search.training.recipes import FAST
from space import DEFAULT, Limits
from studies.export.final_training import Assignment
from studies.fronts.picking import PickRequest
from studies.network import named_network
from studies.spec import StudySpec
from threshnet import NAMED, InputError, StemSpec
from threshnet.recover.recover import Figure

RECORDS: tuple[Any, ...] = (
    StudySpec(name="mine", trials=3),
    DataSettings("digits"),
    FAST,
    Protocol(),
    Limits(params=1e6),
    DEFAULT,
    StemSpec(),
    NAMED["threshnet28"],
    NAMED["threshnet28"].blocks[0],
    PickRequest(),
    named_network("threshnet28"),
    Assignment(named_network("threshnet28"), DataSettings("digits"), FAST),
    Figure("params", 1e6, 0.5),
)
ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    10**20,
    10**5000,
    1.5,
    math.nan,
    -math.inf,
    1j,
    "",
    "odd",
    "a\nb",
    "\udcff",
    b"bytes",
    (),
    [],
    [None],
    (True,),
    ((),),
    [[0]],
    [math.nan],
    ["\n"],
    {},
    {"a": 1},
    {1: 2},
    {3},
    range(0),
    iter(()),
    Path("odd"),
    object(),
    int,
    np.int64(3),
    np.float64(0.5),
    np.ones((3, 3)),
    torch.ones(3, 3),
    DEFAULT,
    StemSpec(),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_field_accepts_any_value_or_rejects_it_in_one_line(record: Any) -> None:  # noqa: ANN401 - any record
    for field in dataclasses.fields(record):
        for value in ODD:
            message = ""
            try:
                made = replace(record, **{field.name: value})
            except InputError as error:
                message = str(error)
            else:
                assert hash(made) == hash(replace(made))
                assert type(getattr(made, field.name)) not in (list, np.float64)
            assert len(message.splitlines()) <= 1, (field.name, message)
            assert len(message) < 400, (field.name, message)


def test_numpy_numbers_are_converted() -> None:
    numbers: dict[str, Any] = {"epochs": np.int64(3), "learning_rate": np.float64(0.5), "weight_decay": np.int32(1)}
    made = replace(FAST, **numbers)
    assert made == replace(FAST, epochs=3, learning_rate=0.5, weight_decay=1.0)
    assert [type(value) for value in (made.epochs, made.learning_rate, made.weight_decay)] == [int, float, float]
