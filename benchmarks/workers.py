"""Worker processes that end with the process that began them, however it ended."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

WORKERS = 2


def pool(begin: Callable[..., None], *given: object) -> ProcessPoolExecutor:
    """A pool of WORKERS processes, each of which calls `begin` with what is `given` once, before anything else."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(WORKERS, mp_context=spawn, initializer=_begin, initargs=(begin, given))


def _begin(begin: Callable[..., None], given: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
