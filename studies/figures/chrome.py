"""A plotly figure as a PNG, drawn by the installed Chrome or Chromium; nothing is ever downloaded."""

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

TIMEOUT_S = 60.0  # for Chrome to start, and again to draw


class NoChrome(RuntimeError):  # noqa: N818 - a state of the machine, not a fault of the program
    """The PNG could not be drawn: no Chrome or Chromium was found, or it failed; the message is one line."""


def draw(chart: go.Figure, width: int, height: int, scale: int) -> bytes:
    """The PNG of a figure of `width` x `height` pixels, each `scale` x `scale` in the file.

    Raises NoChrome if no browser can draw it.
    """
    size = {"format": "png", "width": width, "height": height, "scale": scale}

    async def take(browser: kaleido.Kaleido) -> bytes:
        image: bytes = await browser.calc_fig(chart, opts=size)
        return image

    return _in_browser(take)


def _in_browser(take: Callable[[kaleido.Kaleido], Coroutine[Any, Any, bytes]]) -> bytes:
    """The result of `take`, called with a browser."""
    with _muted(), ThreadPoolExecutor(max_workers=1) as pool:  # a thread, as a notebook has an event loop of its own
        return pool.submit(asyncio.run, _with_browser(take)).result()


async def _with_browser(take: Callable[[kaleido.Kaleido], Coroutine[Any, Any, bytes]]) -> bytes:
    try:
        browser = kaleido.Kaleido(mathjax=False, timeout=None)  # False: MathJax would be fetched
    except RuntimeError:
        raise NoChrome("no Chrome or Chromium found; install one, or name its file in BROWSER_PATH") from None
    try:
        await _within(TIMEOUT_S, browser.open())
        image: bytes = await _within(TIMEOUT_S, take(browser))
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(browser.subprocess.pid, signal.SIGKILL)  # Chrome leads a process group of its own
        raise NoChrome(f"Chrome did not answer within {TIMEOUT_S:.0f} s") from None
    except Exception as error:
        reason = " ".join(str(error).split())
        raise NoChrome(f"Chrome failed ({type(error).__name__}: {textwrap.shorten(reason, 120)})") from None
    finally:
        with suppress(Exception):
            await _within(TIMEOUT_S, browser.close())
    return image


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """The result of `work`; raises TimeoutError after `seconds`, even if it cannot be cancelled."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()


@contextmanager
def _muted() -> Iterator[None]:
    """Silence Kaleido and its browser."""
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
