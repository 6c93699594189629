"""One question to a probe in a process of its own: the asking side and the answering side."""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.latency.timing import MeasurementError, Protocol, take, warm_up

ROOT = Path(__file__).resolve().parents[2]  # the folder from which `search` and `threshnet` are imported
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Ready:
    """A network that a probe has loaded and can run."""

    run: Callable[[], object]  # one inference of one batch, back when it is done
    runtime_version: str  # as the runtime states it
    warnings: tuple[str, ...] = ()  # reasons to distrust the reading, one line each


@dataclass(frozen=True)
class Answer:
    """What a probe sends back."""

    samples_ms: tuple[float, ...]  # every timed run, in the order taken
    runtime_version: str  # as the runtime states it
    warnings: tuple[str, ...]  # reasons to distrust the reading, one line each
    pid: int  # of the process that measured


def ask(probe: str, model: object, input_size: int, protocol: Protocol) -> Answer:
    """Run the probe module with the protocol's threads and return its answer.

    model is what the probe expects, as JSON: a path, or a spec's dict. The child gets one JSON object on stdin and
    answers with one on the last line of stdout. Raises MeasurementError when it dies, takes longer than timeout_s or
    answers anything else; the message ends in its last line of stderr.
    """
    request = {"model": model, "input_size": input_size, "protocol": protocol.to_json()}
    command = [sys.executable, "-P", "-m", probe]  # -P: a folder `search` in the user's working directory is not ours
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=protocol.timeout_s,
            env=_environment(protocol.threads),
            check=False,
            start_new_session=True,  # Ctrl-C is for us: the child finishes its reading
        )
    except subprocess.TimeoutExpired as late:
        stderr = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else late.stderr or ""
        raise MeasurementError(f"{probe} took more than {protocol.timeout_s:g} s: {_last_line(stderr)}") from None
    if done.returncode != 0:
        raise MeasurementError(f"{probe} died ({_ending(done.returncode)}): {_last_line(done.stderr)}")
    try:
        return _parsed(json.loads(_last_line(done.stdout)))
    except (ValueError, TypeError, KeyError) as error:
        answered = f"{_last_line(done.stdout)[:80]!r} ({_one_line(error)})"
        raise MeasurementError(f"{probe} answered nonsense, {answered}: {_last_line(done.stderr)}") from error


def serve(prepare: Callable[[Any, int, Protocol], Ready]) -> None:
    """Answer one request on stdin: prepare(model, input_size, protocol), warm up, time, write the answer on stdout."""
    try:
        request = json.load(sys.stdin)
        protocol = Protocol.from_json(request["protocol"], "request")
        ready = prepare(request["model"], request["input_size"], protocol)
        steady = warm_up(ready.run, protocol)
        samples_ms = take(ready.run, protocol)
    except Exception as error:
        traceback.print_exc()
        sys.exit(_one_line(error))
    unsteady = () if steady else ("not steady: the latency still moved at the end of the warm-up",)
    answer = {
        "samples_ms": samples_ms,
        "runtime_version": ready.runtime_version,
        "warnings": [*ready.warnings, *unsteady],
        "pid": os.getpid(),
    }
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def _environment(threads: int) -> dict[str, str]:
    """Return this process's environment with fixed threads, no GPU, and our packages importable from anywhere."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **fixed, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def _parsed(document: Mapping[str, Any]) -> Answer:
    samples_ms = tuple(map(float, document["samples_ms"]))
    if not samples_ms or not all(0 < sample < float("inf") for sample in samples_ms):
        raise ValueError("samples_ms are no positive times")
    return Answer(
        samples_ms=samples_ms,
        runtime_version=str(document["runtime_version"]),
        warnings=tuple(map(str, document["warnings"])),
        pid=int(document["pid"]),
    )


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
