"""Run a coroutine to its end from anywhere, also where an event loop is running already, as in a notebook."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

NOTICED_S = 0.5
"""Seconds within which an interrupt is noticed."""


def run_coroutine(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on an event loop of its own and wait for its end.

    Where no loop is running this is :func:`asyncio.run`, which answers Ctrl-C itself. Where one is, the coroutine
    gets a loop in a thread of its own, since a thread cannot run two; the caller's loop stands still meanwhile. An
    interrupt of the waiting thread (signals reach the main thread only) cancels the coroutine, and is raised once
    that has ended, however often the key is pressed meanwhile.

    Args:
        start: makes the coroutine; called once, in the thread that runs it.

    Raises:
        KeyboardInterrupt: the waiting was interrupted.
        BaseException: whatever the coroutine raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(start())
        return
    with ThreadPoolExecutor(1, "sottovoce-live") as threads, _interrupts() as interrupts:
        runner = asyncio.Runner()
        loop = threads.submit(runner.get_loop).result()
        task = threads.submit(_task, loop, start).result()
        ended = threads.submit(_run, runner, task)
        while not (interrupts or wait((ended,), NOTICED_S).done):
            pass
        if interrupts:
            with suppress(RuntimeError):  # the loop may have closed this instant
                loop.call_soon_threadsafe(task.cancel)
            ended.exception()  # waits for the end; its cancellation is what was asked for
            raise KeyboardInterrupt
        ended.result()


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Count interrupts instead of raising them, so that pressing again while the run ends changes nothing."""
    interrupts: list[int] = []
    handled = threading.current_thread() is threading.main_thread() and callable(
        signal.getsignal(signal.SIGINT)
    )
    if not handled:
        yield interrupts
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def _task(
    loop: asyncio.AbstractEventLoop, start: Callable[[], Coroutine[Any, Any, None]]
) -> asyncio.Task[None]:
    return loop.create_task(start())


def _run(runner: asyncio.Runner, task: asyncio.Task[None]) -> None:
    with runner:
        runner.get_loop().run_until_complete(task)
