"""The premise of every reading: in rounds with the reference, a network is as fast as by itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.latency.lease import exclusive
from search.latency.onnx_files import onnx_files
from search.latency.reference import REFERENCE
from space import DEFAULT, decode
from threshnet.named import NAMED
from threshnet.spec import NetworkSpec

pytestmark = [pytest.mark.services, pytest.mark.idle]  # the margin of 3 % needs an idle machine

ROOT = Path(__file__).resolve().parents[4]
SIZE = 32
SMALL = decode(  # of the default space, about the costs of the reference network
    DEFAULT,
    {"stem": 0, "activation": 0, "block_dropout": 0, "head_dropout": 0, "blocks": 4}
    | {f"block{block}_layers": 3 for block in range(1, 7)}
    | {f"block{block}_threshold": 3 for block in range(1, 7)}
    | {f"block{block}_{index}": 0 for block in range(1, 7) for index in ("bottleneck_width", "multiplier", "output")}
    | {f"block{block}_{index}": 1 for block in range(1, 7) for index in ("unit", "growth", "transition")}
    | {f"block{block}_pool": int(block == 2) for block in range(1, 7)},
)
CLOSE = 0.03  # share by which the two may differ
TRIES = 4
# Both see the same minutes: a stretch of rounds with the reference, a stretch of the network alone, and so on. Prints
# the ratio of the two over the least-disturbed cycles. The clock is that of the thread, which stands still while other
# processes have the processor.
PROGRAM = f"""\
import sys
import time
import numpy as np
from search.latency.probes import probe
plan = dict(min_cycles=6, round_runs=int(sys.argv[3]), discard=int(sys.argv[4]), min_s=0.0, max_s=0.0, tolerance=0.0)
alone = dict(plan, round_runs=20, discard=4)
loaded = probe.load_onnxruntime(sys.argv[1:3], dict(batch=1, input_size={SIZE}, threads=1))
timers = [probe.host_timer(timer, time.thread_time_ns) for timer in loaded.timers]
for timer in timers:
    probe.warm_up(timer, 0.3)
found = []
for _ in range(12):
    both, *_ = probe.take(timers, plan)
    one, *_ = probe.take(timers[1:], alone)
    found.append([np.median(probe.round_medians(both)[1]), np.median(probe.round_medians(one)[0])])
medians = np.array(found).T
calm = medians[:, probe.least_disturbed_cycles(medians)]
print(np.median(calm[0] / calm[1]))
"""


def rounds_over_alone(spec: NetworkSpec, round_runs: int = 20, discard: int = 4) -> float:
    """The latency of a network in rounds with the reference over that by itself."""
    with onnx_files((REFERENCE, spec), SIZE, 1) as paths, exclusive("cpu"):
        command = [sys.executable, "-c", PROGRAM, *map(str, paths), str(round_runs), str(discard)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.parametrize("spec", [NAMED["threshnet28"], SMALL], ids=["threshnet28", "small"])
def test_a_network_in_rounds_is_as_fast_as_alone(spec: NetworkSpec) -> None:
    found = [rounds_over_alone(spec) for _ in range(TRIES)]
    assert np.median(found) == pytest.approx(1.0, abs=CLOSE), found
