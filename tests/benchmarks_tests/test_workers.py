"""Worker processes of the benchmarks end with their parent process."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal, sys, time
from benchmarks.workers import pool

def initialise(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()

if __name__ == "__main__":
    with pool(initialise, sys.argv[1]) as workers:
        workers.submit(time.sleep, 60)
        while not os.listdir(sys.argv[1]):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_if_their_parent_is_killed(tmp_path: Path) -> None:
    program, started = tmp_path / "program.py", tmp_path / "started"
    program.write_text(PROGRAM)
    started.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, program, started], env=environment, timeout=60, check=False)
    (worker,) = [int(file.name) for file in started.iterdir()]
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
