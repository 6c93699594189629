"""Devices by their names."""

import pytest
from search_tests.tiny import NETWORK, QUICK, SIZE

from search.latency.measure import measure_on
from threshnet.errors import InputError


@pytest.mark.parametrize("name", ["tpu", "", "CPU", "cpu:0", "gpu", "http://pi"])
def test_a_device_that_there_is_not_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(InputError, match=f"device {name!r}, must be cpu, cuda"):
        measure_on(name, NETWORK, SIZE, "onnxruntime", QUICK)
