"""Worker processes that end with their parent process, even if it is killed."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

WORKERS = 2


def pool(initialise: Callable[..., None], *arguments: object) -> ProcessPoolExecutor:
    """Create a pool of WORKERS processes. Each process first calls `initialise` with `arguments`."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(WORKERS, mp_context=spawn, initializer=_start, initargs=(initialise, arguments))


def _start(initialise: Callable[..., None], arguments: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    initialise(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
