"""Families of kinds: a table with a ``kind`` is one class, found by subclass here and by entry point outside."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from inspect import cleandoc, isabstract
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, get_args

from pydantic import ConfigDict
from pydantic_core import core_schema

from scenarios.format.guard import guard, guarded_schema
from scenarios.format.tables import Table
from simulator.errors import ConfigurationError
from simulator.plugins import OURSELVES, load, origin, package_of, points

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

OWN = "scenarios."
"""Modules whose classes are kinds without an entry point."""


_DEFINED: list[type[Kind]] = []
"""Subclasses of Kind in the order of their definition."""
_KINDS: dict[type[Kind], Mapping[str, type[Kind]]] = {}
_ORIGINS: dict[type[Kind], EntryPoint] = {}


class Kind(Table):
    """Base class of families of kinds, and through them of every kind.

    A family is a subclass with a ``group`` of its own; its docstring says what its kinds are. A field of a table
    annotated with a family holds any of its kinds, told apart by ``kind``. A kind is a subclass of a family whose
    ``kind`` is a literal of one or more words; its keys, defaults, examples, facts, checks and what it builds are in
    that class. Kinds of other packages are entry points of the group, named after the word.

    The reference of scenario files prints the docstring of a family: the first line says what its kinds are, and
    paragraphs after it are notes for those who write scenario files.
    """

    # a family's own schema is made when it is first used, after its kinds: it is the union of them
    model_config = ConfigDict(defer_build=True)

    group: ClassVar[str] = ""
    usual: ClassVar[str] = ""
    """The kind of a table of this family that names none; empty where the key ``kind`` is required."""

    if (
        TYPE_CHECKING
    ):  # no field of families: keys of a kind are written in the order in which it declares them
        kind: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _DEFINED.append(cls)

    @classmethod
    def is_family(cls) -> bool:
        """Return whether this class is a family, not a kind."""
        return bool(cls.__dict__.get("group"))

    @classmethod
    def kinds(cls) -> Mapping[str, type[Self]]:
        """Map each word that ``kind`` may be to its class, own kinds first.

        Raises:
            ConfigurationError: a plug-in cannot be loaded, is no kind of this family, or a word is taken twice.
        """
        found = _KINDS.get(cls)
        if found is None:
            found = _KINDS[cls] = _kinds(cls)
        return cast(Mapping[str, type[Self]], found)

    @classmethod
    def words(cls) -> tuple[str, ...]:
        """Return the words of ``kind`` that this class stands for; none for a family."""
        field = cls.model_fields.get("kind")
        return () if field is None else get_args(field.annotation)

    @classmethod
    def about(cls) -> str:
        """Return what the kinds of this family are, as the first line of its docstring has it."""
        line = cleandoc(cls.__doc__ or "").partition("\n")[0].rstrip(".")
        return line[:1].lower() + line[1:]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        if not cls.is_family() or not _below(cls):  # a family's own class is made before its kinds
            return handler(source)
        choices = {word: _schema_of(kind, handler) for word, kind in cls.kinds().items()}
        union = core_schema.tagged_union_schema(choices, discriminator="kind")
        return core_schema.no_info_before_validator_function(cls.with_usual, union) if cls.usual else union

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        if "discriminator" not in found:
            return found
        return {"description": cls.about(), **_by_kind(found["discriminator"]["mapping"], cls.usual)}

    @classmethod
    def with_usual(cls, table: Any) -> Any:
        """Return a table, not yet checked, with the usual kind of this family where it names none."""
        return {"kind": cls.usual} | table if cls.usual and isinstance(table, dict) else table


def _by_kind(mapping: Mapping[str, str], usual: str) -> JsonSchemaValue:
    """Return a JSON Schema that checks a table against its own kind alone, so that one wrong key is one error.

    Args:
        mapping: reference to the schema of each kind, by its word.
        usual: kind of a table that names none.
    """
    words: dict[str, list[str]] = {}
    for word, target in mapping.items():
        words.setdefault(target, []).append(word)
    required = {} if usual else {"required": ["kind"]}
    return {
        "type": "object",
        **required,
        "properties": {"kind": {"enum": list(mapping)}},
        "allOf": [
            {
                "if": {
                    "properties": {"kind": {"enum": which} if len(which) > 1 else {"const": which[0]}},
                    **({} if usual in which else {"required": ["kind"]}),
                },
                "then": {"$ref": target},
            }
            for target, which in words.items()
        ],
    }


def _schema_of(kind: type[Kind], handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    schema, point = handler.generate_schema(kind), _point_of(kind)
    return schema if point is None else guarded_schema(kind, point, schema)


def plugin_of(kind: type[Kind]) -> tuple[str, str] | None:
    """Return package and version that a kind comes from; None for the kinds of sottovoce itself.

    A latency that was made of a law comes from where the law does.
    """
    point = _point_of(kind)
    return None if point is None else package_of(point)


def _point_of(kind: type[Kind]) -> EntryPoint | None:
    return next((_ORIGINS[base] for base in kind.__mro__ if base in _ORIGINS), None)


def _below(family: type[Kind]) -> list[type[Kind]]:
    """List the kinds of a family that belong to sottovoce itself, in the order of their definition."""
    return [
        kind
        for kind in _DEFINED
        if issubclass(kind, family) and kind.words() and kind.__module__.startswith(OWN)
    ]


def _kinds(family: type[Kind]) -> Mapping[str, type[Kind]]:
    found: dict[str, type[Kind]] = {}
    for kind in _below(family):
        _complete(kind, f"{kind.__module__}.{kind.__qualname__}")
        for word in kind.words():
            found[word] = _unique(found, word, kind, kind.__module__)
    if not family.is_family():
        return found
    for point in points(family.group):
        kind = _loaded(point, family)
        _complete(kind, origin(point))
        _ORIGINS[kind] = point
        guard(kind, point)
        found[point.name] = _unique(found, point.name, kind, origin(point))
    return found


def _loaded(point: EntryPoint, family: type[Kind]) -> type[Kind]:
    kind, by = load(point), origin(point)
    if not (isinstance(kind, type) and issubclass(kind, family) and kind.words()):
        raise ConfigurationError(
            f"{by} is no {family.__name__}: expected a subclass of {family.__module__}.{family.__name__} with a "
            "key kind; repair or uninstall it"
        )
    if point.name not in kind.words():
        raise ConfigurationError(
            f"{by}: the entry point is named {point.name!r}, but kind is one of {', '.join(kind.words())}; name "
            "the entry point after the kind"
        )
    return kind


def _complete(kind: type[Kind], by: str) -> None:
    if isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        keys = sorted(kind.__abstractmethods__ & kind.model_fields.keys())
        hint = f"; {', '.join(keys)} became a key: annotate a constant fact as ClassVar" if keys else ""
        raise ConfigurationError(f"{by}: {kind.__name__} does not define {missing}; a kind must{hint}")


def _unique(found: Mapping[str, type[Kind]], word: str, kind: type[Kind], by: str) -> type[Kind]:
    if word in found and found[word] is not kind:
        other = _ORIGINS.get(found[word])
        taken = OURSELVES if other is None else origin(other)
        raise ConfigurationError(
            f'{by}: the kind "{word}" is already defined by {taken}; rename or uninstall one of them'
        )
    return kind
