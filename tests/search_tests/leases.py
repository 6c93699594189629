"""Other processes that use devices: who holds a lease can only be seen from outside."""

import contextlib
import subprocess
import sys
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
        "from search.latency.reports import reporting\n"
        "lease.REPORT_S = 0.05\n"
        "def give_up(wait): raise TimeoutError\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        with reporting(give_up), lease.exclusive(name): pass\n"
        "    except TimeoutError: print(name)\n"
    )
    output, _ = other(program, *names).communicate(timeout=60)
    return output.split()
