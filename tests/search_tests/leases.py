"""Other processes that use devices: who holds a lease can only be seen from outside."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def other(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a process that runs a program, with the lease module at hand and this process's folder of leases."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys, time\nfrom search.latency import lease\n{program}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )


def next_line(process: "subprocess.Popen[str]") -> str:
    """The next line of a process, without its end; '' where it has ended."""
    assert process.stdout
    return process.stdout.readline().strip()


@contextlib.contextmanager
def running(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process, killed with the block."""
    with other(program, *arguments) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def holding(how: str, *names: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds leases until its standard input ends; `how` is "exclusive" or "shared"."""
    program = f"with lease.{how}(*sys.argv[1:]):\n    print('held', flush=True)\n    sys.stdin.read()"
    with running(program, *names) as process:
        assert next_line(process) == "held"
        yield process


def busy(names: Sequence[str]) -> list[str]:
    """Those of the leases that another process could not have exclusively now."""
    program = (
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        with lease.exclusive(name, wait_s=0.05): pass\n"
        "    except lease.MeasurementError: print(name)\n"
    )
    output, _ = other(program, *names).communicate(timeout=60)
    return output.split()
