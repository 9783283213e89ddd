"""Errors of kinds of other packages, told in one line that names kind, package and the member that failed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import (
    PydanticCustomError,
    PydanticKnownError,
    PydanticOmit,
    PydanticUseDefault,
    core_schema,
)

from scenarios.format.locate import Key
from scenarios.format.tables import Problems
from simulator.errors import ConfigurationError, SottovoceError
from simulator.plugins import in_words, package_of

if TYPE_CHECKING:
    from scenarios.format.kind import Kind

_OURS = ("scenarios.", "protocols.", "analysis.", "simulator.", "pydantic", "abc", "builtins", "typing")
"""Modules whose classes are left as they are."""
_FINDERS = ("problems", "file_problems")
"""Members that yield problems."""
_VALIDATION = (
    *(ValidationError, PydanticCustomError, PydanticKnownError, PydanticOmit, PydanticUseDefault),
    *(ValueError, AssertionError),
)
"""What a validator may raise: pydantic turns these into problems of the scenario."""


@contextmanager
def blamed(kind: str, point: EntryPoint, member: str, *expected: type[Exception]) -> Iterator[None]:
    """Turn an exception of a plug-in into one line that names it.

    Args:
        kind: word of the kind.
        point: its entry point.
        member: what was called.
        expected: exceptions that are passed on, beside those of sottovoce.

    Raises:
        ConfigurationError: the block raised another exception.
    """
    try:
        yield
    except Exception as error:  # whatever a package of others raises
        if isinstance(error, (SottovoceError, *expected)):
            raise
        package = " ".join(package_of(point)).strip()
        raise ConfigurationError(
            f'kind "{kind}" of package {package} failed in {member}: {in_words(error)}; repair the package or '
            "uninstall it"
        ) from error


def guard(kind: type[Kind], point: EntryPoint) -> None:
    """Let every public member that a kind defines name the kind when it fails.

    Validators are left to :func:`guarded_schema`, coroutines to the run, which names their node.
    """
    for base in kind.__mro__:
        if not base.__module__.startswith(_OURS) and "_sottovoce_guarded" not in base.__dict__:
            for name, member in list(base.__dict__.items()):
                made = (
                    None
                    if name.startswith("_") or name in _validators(base)
                    else _member(name, member, point)
                )
                if made is not None:
                    setattr(base, name, made)
            type.__setattr__(base, "_sottovoce_guarded", True)


def guarded_schema(
    kind: type[Kind], point: EntryPoint, schema: core_schema.CoreSchema
) -> core_schema.CoreSchema:
    """Return the schema of a kind whose validators name the kind when they raise what no validator may."""

    def validate(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        with blamed(_word(kind), point, "a validator", *_VALIDATION):
            return handler(value)

    return core_schema.no_info_wrap_validator_function(validate, schema)


def _validators(base: type) -> set[str]:
    found = base.__dict__.get("__pydantic_decorators__")
    if found is None:
        return set()
    groups = (found.validators, found.field_validators, found.root_validators, found.model_validators)
    return {name for group in groups for name in group}


def _member(name: str, member: Any, point: EntryPoint) -> Any:
    """Return a guarded member of a class; None for what is no function."""
    if isinstance(member, classmethod):
        return classmethod(_called(name, member.__func__, point))
    if isinstance(member, property):
        read = None if member.fget is None else _called(name, member.fget, point, "")
        return property(read, member.fset, member.fdel, member.__doc__)
    if isinstance(member, cached_property):
        made = cached_property(_called(name, member.func, point, ""))
        made.__set_name__(object, name)
        return made
    return _called(name, member, point) if inspect.isfunction(member) else None


def _called(name: str, function: Callable[..., Any], point: EntryPoint, brackets: str = "()") -> Any:
    """Return a function that names the kind of its first argument when it fails."""
    told = name + brackets
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return function

    @wraps(function)
    def call(owner: Any, *arguments: Any, **options: Any) -> Any:
        with blamed(_word(owner), point, told):
            return function(owner, *arguments, **options)

    @wraps(function)
    def find(owner: Any, *arguments: Any, **options: Any) -> Problems:
        with blamed(_word(owner), point, told):
            for found in function(owner, *arguments, **options):
                yield _problem(found)

    @wraps(function)
    def generate(owner: Any, *arguments: Any, **options: Any) -> Any:
        with blamed(_word(owner), point, told):
            yield from function(owner, *arguments, **options)

    if name in _FINDERS:
        return find
    return generate if inspect.isgeneratorfunction(function) else call


def _problem(found: Any) -> tuple[Key, str]:
    if (
        isinstance(found, tuple)
        and len(found) == 2
        and isinstance(found[0], tuple)
        and isinstance(found[1], str)
    ):
        return found
    raise TypeError(
        f'it yielded {found!r:.60}; expected pairs of key and message, like (("width",), "is too large")'
    )


def _word(owner: Any) -> str:
    kind = owner if isinstance(owner, type) else type(owner)
    words: tuple[str, ...] = kind.words() if hasattr(kind, "words") else ()
    return " or ".join(words) or kind.__name__
