"""Exceptions of sottovoce.

::

    Exception
    └── SottovoceError
        ├── ConfigurationError   a world, protocol or study that cannot be built as described
        ├── ContractError        a node program broke the rules of the node contract
        ├── ProgramError         a node program raised; says which node and when
        └── StorageError         a run folder that cannot be written or read

    BaseException
    └── NodeDown                 thrown into the tasks of a node that crashes

``NodeDown`` is not an ``Exception`` on purpose: ``except Exception`` in a protocol must not survive
the protocol's own crash.
"""

from __future__ import annotations


class SottovoceError(Exception):
    """Base of every error the project raises deliberately.

    Example:
        >>> try:
        ...     sv.read_run("nowhere")
        ... except sv.SottovoceError as error:
        ...     type(error).__name__
        'StorageError'
    """


class ConfigurationError(SottovoceError):
    """A configuration that cannot be built; the message says what was expected.

    Args:
        message: one sentence for the user.
        key: the scenario key at fault, dotted, when one is known.

    Example:
        >>> raise sv.ConfigurationError("expected a whole number", "protocol.rounds")
        Traceback (most recent call last):
        simulator.errors.ConfigurationError: expected a whole number
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message, key)
        self.message = message
        self.key = key

    def __str__(self) -> str:
        return self.message


class ContractError(SottovoceError):
    """A node program used the node contract wrongly (a foreign awaitable, a receiver that is no neighbour).

    Example:
        >>> raise sv.ContractError("node 0 has no link to node 3")
        Traceback (most recent call last):
        simulator.errors.ContractError: node 0 has no link to node 3
    """


class ProgramError(SottovoceError):
    """A node's program raised. ``__cause__`` holds the original exception.

    Args:
        node: the node whose program failed.
        t_s: virtual (or real, in a live run) seconds since the start.
        reason: the original exception in words.

    Example:
        >>> async def program(node, learner, rounds):
        ...     raise ValueError("boom")
        >>> plain = {"protocol.exchange": "plain"}
        >>> try:
        ...     sv.run("quickstart", changes=plain, program=program)
        ... except sv.ProgramError as error:
        ...     error.node, error.t_s, error.reason
        (0, 0.0, 'ValueError: boom')
    """

    def __init__(self, node: int, t_s: float, reason: str) -> None:
        super().__init__(node, t_s, reason)
        self.node = node
        self.t_s = t_s
        self.reason = reason

    def __str__(self) -> str:
        return f"node {self.node} failed at {self.t_s:.6f} s: {self.reason}"


class StorageError(SottovoceError):
    """A run folder could not be created, written or read; nothing was overwritten.

    Example:
        >>> sv.read_run("nowhere")
        Traceback (most recent call last):
        simulator.errors.StorageError: nowhere/manifest.json: is missing; is nowhere a folder written by sottovoce?
    """


class NodeDown(BaseException):
    """Thrown into every task of a node at the instant it crashes or its group is cancelled."""
