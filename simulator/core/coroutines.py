"""Coroutines on a SimPy calendar, with structured groups and clean cancellation.

SimPy's own processes rebuild exceptions from their arguments, deliver crashes as ordinary exceptions and
fail obscurely on foreign awaitables. A task here is stepped by event callbacks instead: errors keep their
identity and traceback, cancellation is a ``BaseException`` thrown at the await that is pending, and awaiting
anything but this module's :class:`Wait` is a :class:`~simulator.errors.ContractError`.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any

import simpy

from simulator.core.clock import Calendar
from simulator.errors import ContractError, NodeDown


class Wait:
    """Makes a SimPy event awaitable by a task; the error of a failed event is raised at the await."""

    __slots__ = ("event",)

    def __init__(self, event: simpy.Event) -> None:
        self.event = event

    def __await__(self) -> Generator[simpy.Event, None, Any]:
        yield self.event
        if isinstance(self.event.value, BaseException):
            raise self.event.value
        return self.event.value


_NOTHING = (None,)
"""Stands for None where None would mean that there is nothing."""


def _foreign(awaited: object) -> ContractError:
    found = type(None if awaited is _NOTHING else awaited).__name__
    return ContractError(
        f"a node program awaited something foreign (it yielded {found!r}); "
        "await only what the node contract offers: receive, gather, sleep, compute and task groups"
    )


class Runner:
    """Starts tasks and knows which one is running."""

    def __init__(self, env: Calendar) -> None:
        self.env = env
        self.current: Coroutine | None = None

    def start(self, coro: abc.Coroutine[Any, Any, None], finished: Callable[[Coroutine], None]) -> Coroutine:
        """Begin a task at the present instant, after the events already due."""
        return Coroutine(self, coro, finished)


class Coroutine:
    """A coroutine that runs on the calendar: a task of the node contract.

    Args:
        runner: knows which task is running.
        coro: what to run.
        finished: called once, with this object, when it has ended; ``error`` then holds what it raised, or None if it
            returned or was cancelled.
    """

    def __init__(
        self, runner: Runner, coro: abc.Coroutine[Any, Any, None], finished: Callable[[Coroutine], None]
    ) -> None:
        self.error: BaseException | None = None
        self.done = False
        self._runner = runner
        self._coro = coro
        self._finished = finished
        self._executing = False
        self._deferred: BaseException | None = None
        start = simpy.Event(runner.env)
        self._pending: simpy.Event | None = start
        start.callbacks.append(self._resume)
        start.succeed()

    def throw(self, error: BaseException) -> None:
        """Raise ``error`` at the await that is pending, now; in a task that is executing, at its next one."""
        if self._executing:
            self._deferred = error
        elif not self.done:
            self._step(self._coro.throw, error)

    def cancel(self) -> None:
        """End the task at its pending await; its ``finally`` blocks run, but may not await.

        A task that cancels itself (by cancelling its own group) ends at its next await.
        """
        if self._executing:
            self._deferred = NodeDown()
        elif not self.done and self._advance(self._coro.throw, NodeDown()) is not None:
            self._end(self._abandon())

    def _resume(self, event: simpy.Event) -> None:
        if self._pending is event:
            self._step(self._coro.send, None)

    def _step(self, advance: Callable[[Any], Any], value: Any) -> None:
        """Let the coroutine run to its next await, or to its end."""
        awaited = self._advance(advance, value)
        while awaited is not None:
            if isinstance(awaited, simpy.Event):
                self._pending = awaited
                awaited.callbacks.append(self._resume)
                if self._deferred is not None:
                    self._interrupt()
                return
            awaited = self._advance(self._coro.throw, _foreign(awaited))

    def _advance(self, advance: Callable[[Any], Any], value: Any) -> Any:
        """Return what the coroutine awaits next; None if it has ended."""
        runner = self._runner
        before, runner.current = runner.current, self
        self._pending, self._executing = None, True
        ended: BaseException | None = None
        try:
            awaited = advance(value)
        except (StopIteration, NodeDown):
            awaited = None
        except (KeyboardInterrupt, SystemExit):
            # The user's, not the program's: it stops the run as it is.
            self.done = True
            raise
        except BaseException as error:
            awaited, ended = None, error
        else:
            if awaited is None:
                awaited = _NOTHING
        finally:
            self._executing, runner.current = False, before
        if awaited is None:
            self._end(ended)
        return awaited

    def _interrupt(self) -> None:
        """Cancel or interrupt the task, as was asked while it was executing."""
        deferred, self._deferred = self._deferred, None
        if isinstance(deferred, NodeDown):
            self.cancel()
        elif deferred is not None:
            self.throw(deferred)

    def _abandon(self) -> ContractError:
        """Close a coroutine that awaited something while it was being cancelled; return the error."""
        error = ContractError("a task awaited something while it was being cancelled")
        try:
            self._coro.close()
        except BaseException as again:
            error.__cause__ = again
        return error

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
    """Task group of the node contract, on a SimPy calendar.

    The first error of any task or of the body is the one that leaves the block.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._tasks: list[Coroutine] = []
        self._idle: simpy.Event | None = None
        self._error: BaseException | None = None
        self._owner: Coroutine | None = None
        self._open = False

    async def __aenter__(self) -> SimTaskGroup:
        self._owner = self._runner.current
        self._open = True
        return self

    def spawn(self, coro: abc.Coroutine[Any, Any, None]) -> None:
        """Start a task of the group."""
        if not self._open:
            coro.close()
            raise ContractError("spawn on a task group whose block has not begun or is over")
        self._tasks.append(self._runner.start(coro, self._ended))

    def cancel(self) -> None:
        """Stop every task of the group."""
        owner, self._owner = self._owner, None
        for task in list(self._tasks):
            task.cancel()
        self._owner = owner

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        failed_first = self._error is not None
        interruption: BaseException | None = None
        if error is None:
            try:
                while self._tasks and self._error is None:
                    self._idle = simpy.Event(self._runner.env)
                    await Wait(self._idle)
            except BaseException as thrown:
                interruption = thrown
        self._open = False
        self._owner = None
        self.cancel()
        leaving = interruption if error is None else error
        # A crash does not excuse a bug in a finally block, so NodeDown gives way to the error of a task.
        if self._error is not None and (
            failed_first
            or leaving is None
            or isinstance(leaving, NodeDown)
            or (isinstance(leaving, _GroupFailed) and leaving.group is self)
        ):
            raise self._error
        if interruption is not None:
            raise interruption
        return False

    def _ended(self, task: Coroutine) -> None:
        if task in self._tasks:
            self._tasks.remove(task)
        if task.error is not None and self._error is None:
            self._error = task.error
            if self._owner is not None and self._idle is None:
                self._owner.throw(_GroupFailed(self))
                return
        if self._idle is not None and not self._idle.triggered and (self._error or not self._tasks):
            self._idle.succeed()
