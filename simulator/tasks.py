"""Driving coroutines on SimPy's calendar, with structured groups and clean cancellation.

SimPy's own processes rebuild exceptions from their arguments, deliver crashes as ordinary exceptions and
fail obscurely on foreign awaitables. A task here is stepped by event callbacks instead: errors keep their
identity and traceback, cancellation is a ``BaseException`` thrown at the await that is pending, and awaiting
anything but this module's :class:`Wait` is a :class:`~simulator.errors.ContractError`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any

import simpy

from simulator.clock import Calendar
from simulator.errors import ContractError, NodeDown


class Wait:
    """Makes a SimPy event awaitable by a task."""

    __slots__ = ("event",)

    def __init__(self, event: simpy.Event) -> None:
        self.event = event

    def __await__(self) -> Generator[simpy.Event, None, Any]:
        yield self.event
        return self.event.value


class Runner:
    """Starts tasks and knows which one is running."""

    def __init__(self, env: Calendar) -> None:
        self.env = env
        self.current: Task | None = None

    def start(self, coro: Coroutine[Any, Any, None], finished: Callable[[Task], None]) -> Task:
        """Begin a task at the present instant, after the events already due."""
        return Task(self, coro, finished)


class Task:
    """One coroutine in virtual time. ``finished`` is called once, with the task, when it has ended.

    ``error`` then holds what it raised, or None if it returned or was cancelled.
    """

    def __init__(
        self, runner: Runner, coro: Coroutine[Any, Any, None], finished: Callable[[Task], None]
    ) -> None:
        self.error: BaseException | None = None
        self.done = False
        self._runner = runner
        self._coro = coro
        self._finished = finished
        start = simpy.Event(runner.env)
        self._pending: simpy.Event | None = start
        start.callbacks.append(self._resume)
        start.succeed()

    def throw(self, error: BaseException) -> None:
        """Raise ``error`` at the await that is pending, now."""
        if not self.done:
            self._step(lambda: self._coro.throw(error))

    def cancel(self) -> None:
        """End the task at its pending await; its ``finally`` blocks run, but may not await."""
        if self.done:
            return
        try:
            self._coro.throw(NodeDown())
        except (NodeDown, StopIteration):
            self._end(None)
        except BaseException as error:
            self._end(error)
        else:
            self._coro.close()
            self._end(ContractError("a task awaited something while it was being cancelled"))

    def _resume(self, event: simpy.Event) -> None:
        if self._pending is event:
            self._step(lambda: self._coro.send(None))

    def _step(self, advance: Callable[[], Any]) -> None:
        self._pending = None
        before, self._runner.current = self._runner.current, self
        try:
            awaited = advance()
            while not isinstance(awaited, simpy.Event):
                awaited = self._coro.throw(
                    ContractError(
                        f"a node program awaited {type(awaited).__name__!r}; "
                        "await only what the node contract offers"
                    )
                )
        except (StopIteration, NodeDown):
            self._end(None)
        except BaseException as error:
            self._end(error)
        else:
            self._pending = awaited
            awaited.callbacks.append(self._resume)
        finally:
            self._runner.current = before

    def _end(self, error: BaseException | None) -> None:
        self.done = True
        self.error = error
        self._pending = None
        self._finished(self)


class _GroupFailed(BaseException):
    """Interrupts the body of a group one of whose tasks failed."""

    def __init__(self, group: SimTaskGroup) -> None:
        super().__init__()
        self.group = group


class SimTaskGroup:
    """The task group of the node contract, on virtual time."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._tasks: list[Task] = []
        self._idle: simpy.Event | None = None
        self._error: BaseException | None = None
        self._owner: Task | None = None

    async def __aenter__(self) -> SimTaskGroup:
        self._owner = self._runner.current
        return self

    def spawn(self, coro: Coroutine[Any, Any, None]) -> None:
        """Start a task of the group."""
        self._tasks.append(self._runner.start(coro, self._ended))

    def cancel(self) -> None:
        """Stop every task of the group."""
        owner, self._owner = (
            self._owner,
            None,
        )
        for task in list(self._tasks):
            task.cancel()
        self._owner = owner

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            while self._tasks and self._error is None:
                self._idle = simpy.Event(self._runner.env)
                try:
                    await Wait(self._idle)
                except BaseException:
                    self._owner = None
                    self.cancel()
                    raise
        self._owner = None
        self.cancel()
        if self._error is not None and (
            error is None or (isinstance(error, _GroupFailed) and error.group is self)
        ):
            raise self._error
        return False

    def _ended(self, task: Task) -> None:
        if task in self._tasks:
            self._tasks.remove(task)
        if task.error is not None and self._error is None:
            self._error = task.error
            if self._owner is not None and self._idle is None:
                self._owner.throw(_GroupFailed(self))
                return
        if self._idle is not None and not self._idle.triggered and (self._error or not self._tasks):
            self._idle.succeed()
