"""Draw a plotly figure as a PNG with the installed Chrome or Chromium. Nothing is ever downloaded."""

import asyncio
import logging
import os
import signal
import textwrap
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import kaleido
import plotly.graph_objects as go

TIMEOUT_S = 60.0  # time for Chrome to start, and the same time again to draw


class NoChrome(RuntimeError):  # noqa: N818 - a state of the machine, not a fault of the program
    """Raised if Chrome and Chromium are missing, or if drawing the PNG failed. The message is one line."""


def draw(chart: go.Figure, width: int, height: int, scale: int) -> bytes:
    """Draw a figure of `width` x `height` pixels as a PNG that is `scale` times as large.

    Raises NoChrome if no browser can draw it.
    """
    size = {"format": "png", "width": width, "height": height, "scale": scale}

    async def take(browser: kaleido.Kaleido) -> bytes:
        image: bytes = await browser.calc_fig(chart, opts=size)
        return image

    return _in_browser(take)


def _in_browser(take: Callable[[kaleido.Kaleido], Coroutine[Any, Any, bytes]]) -> bytes:
    """Call `take` with a browser and return its result."""
    # asyncio.run needs its own thread, because a notebook already runs an event loop in this one.
    with _muted(), ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, _with_browser(take)).result()


async def _with_browser(take: Callable[[kaleido.Kaleido], Coroutine[Any, Any, bytes]]) -> bytes:
    try:
        browser = kaleido.Kaleido(mathjax=False, timeout=None)  # False, because MathJax would be downloaded
    except RuntimeError:
        raise NoChrome("no Chrome or Chromium found; install one, or name its file in BROWSER_PATH") from None
    try:
        await _within(TIMEOUT_S, browser.open())
        image: bytes = await _within(TIMEOUT_S, take(browser))
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(browser.subprocess.pid, signal.SIGKILL)  # Chrome has its own process group
        raise NoChrome(f"Chrome did not answer within {TIMEOUT_S:.0f} s") from None
    except Exception as error:
        reason = " ".join(str(error).split())
        raise NoChrome(f"Chrome failed ({type(error).__name__}: {textwrap.shorten(reason, 120)})") from None
    finally:
        with suppress(Exception):
            await _within(TIMEOUT_S, browser.close())
    return image


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Run `work` and return its result. Raises TimeoutError after `seconds`, even if `work` cannot be cancelled."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()


@contextmanager
def _muted() -> Iterator[None]:
    """Suppress the output of Kaleido and its browser."""
    loggers = [logging.getLogger(name) for name in ("kaleido", "choreographer", "browser_proc", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
