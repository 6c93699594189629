"""Devices by their names."""

import pytest

from search.latency.devices.named import device_named
from threshnet.errors import InputError


@pytest.mark.parametrize("name", ["tpu", "", "CPU", "cpu:0", "gpu", "http://pi"])
def test_the_error_for_an_unknown_device_lists_the_forms(name: str) -> None:
    with pytest.raises(InputError, match=f"device {name!r}: must be cpu, cuda"):
        device_named(name)
