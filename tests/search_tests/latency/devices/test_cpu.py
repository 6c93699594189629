"""The CPU of this machine, beyond the contract."""

import pytest
from search_tests.tiny import NETWORK, QUICK, SIZE

from search.latency.devices.cpu import Cpu
from search.latency.measure import measure_on
from threshnet.errors import InputError


def test_openvino_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.latency.devices.cpu.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'openvino' is not installed; pip install 'threshnet-nas\[openvino\]'"):
        measure_on(Cpu(), NETWORK, SIZE, "openvino", QUICK)
