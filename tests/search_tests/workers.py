"""Several new processes that do the same work at the same time."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Barrier

PATIENCE_S = 300.0  # for each to end
PRELOADED = ["optuna", "search.run", "torch"]  # what takes seconds to import


def work_together(
    target: Callable[..., None], several: int, arguments: Callable[[int, Barrier], tuple[object, ...]]
) -> None:
    """Run `target` in `several` new processes, which must all end with status 0.

    `arguments` are given the process's number and a barrier at which they may wait for each other.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # once for all, not in each of them
    barrier = context.Barrier(several)
    workers = [context.Process(target=target, args=arguments(number, barrier)) for number in range(several)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(PATIENCE_S)
        assert [worker.exitcode for worker in workers] == [0] * several
    finally:
        for worker in workers:
            with suppress(ValueError):
                worker.kill()
