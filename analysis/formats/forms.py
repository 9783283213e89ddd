"""Forms of the JSON files of run and study folders: what each key may hold, checked when a file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any, TypeAlias

from analysis.formats.keys import SUMMARY
from simulator.errors import StorageError

Form: TypeAlias = Callable[[str, Any], Iterator[tuple[str, str]]]
"""From key and value to what is wrong below it: key, and what was expected there."""


class Content(dict[str, Any]):
    """Content of a JSON file; a key that it lacks is a StorageError that names file and key."""

    def __init__(self, content: Mapping[str, Any], file: Path, at: str = "") -> None:
        self.file, self.at = file, at
        below = f"{at}." if at else ""
        super().__init__({key: _content(value, file, below + key) for key, value in content.items()})

    def __missing__(self, key: str) -> Any:
        place = f"{self.at}.{key}" if self.at else key
        raise StorageError(f"{self.file}: lacks {place}; the file is damaged or not from sottovoce")


def _content(value: Any, file: Path, at: str) -> Any:
    if isinstance(value, dict):
        return Content(value, file, at)
    return (
        [_content(one, file, f"{at}[{i}]") for i, one in enumerate(value)]
        if isinstance(value, list)
        else value
    )


def checked(content: Mapping[str, Any], file: Path, form: Form) -> dict[str, Any]:
    """Return the content of a JSON file after comparing it with a form.

    Raises:
        StorageError: a value is not of the form; one line with file and key. Later, a key is asked for that the file
            lacks.
    """
    for key, expected in form("", content):
        raise StorageError(
            f"{file}: {key}: expected {expected}; the file is damaged, restore it or run the scenario again"
        )
    return Content(content, file)


# ---------------------------------------------------------------- values


def _plain(expected: str, holds: Callable[[Any], bool]) -> Form:
    def form(key: str, value: Any) -> Iterator[tuple[str, str]]:
        if not holds(value):
            yield key, f"{expected}, found {_shown(value)}"

    return form


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    text = dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    """Return whether a value is a number, infinite ones included; NaN does not occur in the files."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return number or value in ("inf", "-inf")


def _is_observers(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    sets = [one for one in value if isinstance(one, list)]
    return (
        bool(value)
        and all(one and all(map(_is_whole, one)) for one in sets)
        and all(isinstance(one, str | list) for one in value)
    )


def _within(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and not isinstance(value, str) and low <= value <= high


TEXT = _plain("text", lambda value: isinstance(value, str))
FLAG = _plain("true or false", lambda value: isinstance(value, bool))
WHOLE = _plain("a whole number from 0", _is_whole)
NUMBER = _plain("a number", _is_number)
TIME = _plain("a number from 0", _within(0.0, float("inf")))
FRACTION = _plain("a number from 0 to 1", _within(0.0, 1.0))
ANYTHING = _plain("anything", lambda value: True)
COUNT = _plain("a whole number from 1", lambda value: _is_whole(value) and value > 0)
PAIR = _plain(
    "a pair of nodes",
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value)),
)


def one_of(*words: str) -> Form:
    """Return the form of a word that is one of some."""
    return _plain(f"one of {', '.join(words)}", lambda value: value in words)


def maybe(form: Form) -> Form:
    """Return a form that is null as well."""
    return lambda key, value: iter(()) if value is None else form(key, value)


def rows(form: Form) -> Form:
    """Return the form of a list."""

    def found(key: str, value: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(value, list):
            yield key, f"a list, found {_shown(value)}"
            return
        for i, one in enumerate(value):
            yield from form(f"{key}[{i}]", one)

    return found


def named(form: Form) -> Form:
    """Return the form of a table whose keys are not known beforehand."""
    return table({}, others=form)


def table(keys: Mapping[str, Form], required: tuple[str, ...] = (), others: Form | None = ANYTHING) -> Form:
    """Return the form of a table.

    Args:
        keys: form of the value of each key.
        required: keys that are always there.
        others: form of the values of further keys.
    """

    def found(key: str, value: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(value, dict):
            yield key or "the file", f"a table, found {_shown(value)}"
            return
        below = f"{key}." if key else ""
        for name in required:
            if name not in value:
                yield below + name, "a value, found none"
        for name, inner in value.items():
            form = keys.get(name, others)
            if form is not None:
                yield from form(below + name, inner)

    return found


# ---------------------------------------------------------------- files

STATUS = one_of("running", "finished", "diverged", "interrupted", "failed")
UNIT, ADJACENCY = one_of("record", "node"), one_of("add-remove", "replace", "zero-out")
_MIXING = table(
    {"symmetric": FLAG, "doubly_stochastic": FLAG, "connected": FLAG, "spectral_gap": maybe(NUMBER)}
)
_LAW = ("law", "scale", "dimension", "norm", "member_sigma", "unit")
_SCENARIO = table(
    {
        "name": TEXT,
        "description": TEXT,
        "expect": TEXT,
        "topology": table({"kind": TEXT}),
        "fault": rows(table({})),
        "partition": table({"kind": TEXT}),
        "training": table({"rate": maybe(NUMBER), "batch": maybe(WHOLE)}),
        "protocol": table(
            {"kind": TEXT, "rounds": COUNT, "exchange": one_of("plain", "ldp", "secure")},
        ),
        "privacy": maybe(
            table(
                {
                    "unit": UNIT,
                    "adjacency": ADJACENCY,
                    "delta": _plain(
                        "a number between 0 and 1", lambda value: _within(0, 1)(value) and 0 < value < 1
                    ),
                    "clip": NUMBER,
                    "noise_multiplier": maybe(NUMBER),
                }
            )
        ),
        "adversary": table({"wiretap": maybe(table({"enabled": FLAG}))}),
        "sweep": maybe(
            table(
                {
                    "grid": named(rows(ANYTHING)),
                    "series": rows(table({"name": TEXT})),
                    "baseline": maybe(TEXT),
                }
            )
        ),
        "whatif": rows(table({"name": TEXT})),
    }
)
MANIFEST_FORMS: Mapping[str, Form] = {
    "format": WHOLE,
    "name": TEXT,
    "scenario": _SCENARIO,
    "scenario_sha256": TEXT,
    "seed": WHOLE,
    "mode": one_of("simulation", "live"),
    "trace_repeats_on": TEXT,
    "versions": named(TEXT),
    "topology": table({"nodes": COUNT, "edges": rows(PAIR), "fixed": FLAG}, ("nodes", "edges")),
    "network": table({"mixing": _MIXING}),
    "data": table(
        {
            "train_samples": WHOLE,
            "test_samples": WHOLE,
            "shape": rows(WHOLE),
            "classes": maybe(rows(TEXT)),
        }
    ),
    "samples_per_node": rows(WHOLE),
    "labels_per_node": maybe(rows(rows(WHOLE))),
    "local_test_per_node": maybe(rows(WHOLE)),
    "users_per_node": maybe(rows(WHOLE)),
    "integer_noise": maybe(
        table(
            {
                "law": one_of("skellam", "discrete-gaussian"),
                "scale": NUMBER,
                "dimension": COUNT,
                "norm": NUMBER,
                "member_sigma": NUMBER,
                "unit": UNIT,
            },
            _LAW,
            others=_plain("no such key", lambda value: False),
        )
    ),
    "failure_probability": FRACTION,
    "parameters": WHOLE,
    "byzantine": rows(WHOLE),
    "curious": rows(WHOLE),
    "mixing": _MIXING,
    "trace_hash": maybe(TEXT),
    "wall_s": TIME,
    "status": STATUS,
    "peak_mib": TIME,
    "down_at_end": rows(WHOLE),
    "metrics": named(TEXT),
    "plugins": named(TEXT),
    "objects": table({}),
}
"""Form of every key of manifest.json."""
MANIFEST = table(MANIFEST_FORMS, ("name", "scenario", "status", "topology"))

_NAMES = rows(WHOLE)
SUMMARY_FORMS: Mapping[str, Form] = {key.name: maybe(NUMBER) for key in SUMMARY if key.number} | {
    "format": WHOLE,
    "name": TEXT,
    "seed": WHOLE,
    "status": STATUS,
    "warnings": rows(TEXT),
    "protocol": TEXT,
    "simulated_s": TIME,
    "bytes_sent": TIME,
    "wall_s": TIME,
    "accuracy_worst_node": maybe(WHOLE),
    "accuracy_lowest_recent_node": maybe(WHOLE),
    "recent_evaluations": maybe(WHOLE),
    "accuracy_by_class": maybe(rows(maybe(NUMBER))),
    "epsilon_reason": maybe(TEXT),
    "open_loop_missing": maybe(TEXT),
    "adjacency": maybe(TEXT),
    "unit": maybe(TEXT),
    "basis": maybe(TEXT),
    "certified_by": maybe(TEXT),
    "observers": maybe(_plain("text or a list of sets of observers", _is_observers)),
    "budget_spent": _NAMES,
    "nodes_down": maybe(_NAMES),
    "diverged": FLAG,
    "mode": one_of("simulation", "live"),
    "trace_hash": maybe(TEXT),
    "series": maybe(TEXT),
    "variant": maybe(TEXT),
    **{
        name: WHOLE
        for name in (
            *("rounds", "rounds_done_min", "rounds_done_max", "messages_sent", "messages_in_flight"),
            *("messages_delivered", "messages_lost", "messages_dropped", "messages_expired"),
        )
    },
    **{
        name: TIME
        for name in (
            *("unanswered", "stale", "sums_opened", "sums_skipped", "lists_refused", "late_answers"),
            *("wrong_shares", "withheld", "confined", "keys_refused", "malformed", "attacks_in_the_dark"),
        )
    },
}
"""Form of every key of summary.json that sottovoce itself writes."""
_RUN = table(
    {
        "id": TEXT,
        "seed": WHOLE,
        "series": maybe(TEXT),
        "variant": maybe(TEXT),
        "set": table({}),
        "status": TEXT,
        "infer": FLAG,
    },
    ("id",),
)
STUDY = table(
    {
        "format": WHOLE,
        "kind": one_of("sweep", "whatif", "breaking"),
        "name": TEXT,
        "scenario": _SCENARIO,
        "runs": rows(_RUN),
    },
    ("kind", "name", "scenario", "runs"),
)
INFERENCE = table(
    {
        "format": WHOLE,
        "coalition": rows(WHOLE),
        "findings": rows(
            table({"attack": TEXT, "measure": TEXT, "value": NUMBER}, ("attack", "measure", "value"))
        ),
    },
    ("findings",),
)


def summary(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return the checked content of summary.json. Metrics of plug-ins are numbers, and so are paired differences.

    Raises:
        StorageError: as :func:`checked`.
    """
    own = {name: form for name, form in SUMMARY_FORMS.items() if name in content}
    return checked(content, file, table(own, ("status",)))


def manifest(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return the checked content of manifest.json.

    Raises:
        StorageError: as :func:`checked`; or the scenario differs from its hash; or a node is named that the run does
            not have.
    """
    found = checked(content, file, MANIFEST)
    whole = dumps(content["scenario"], sort_keys=True)
    if "scenario_sha256" in content and sha256(whole.encode()).hexdigest() != content["scenario_sha256"]:
        raise StorageError(
            f"{file}: scenario: does not have the hash scenario_sha256, so one of them was changed after the run; "
            "restore the file or run the scenario again"
        )
    nodes = content["topology"]["nodes"]
    for key, of_nodes in _nodes_in(content):
        if any(node >= nodes for node in of_nodes):
            raise StorageError(
                f"{file}: {key}: names a node above {nodes - 1}, the last one; the file is damaged"
            )
    for key in ("samples_per_node", "labels_per_node", "local_test_per_node", "users_per_node"):
        if content.get(key) is not None and len(content[key]) != nodes:
            raise StorageError(
                f"{file}: {key}: has {len(content[key])} entries for {nodes} nodes; the file is damaged"
            )
    return found


def _nodes_in(content: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    yield "topology.edges", [node for edge in content["topology"]["edges"] for node in edge]
    for key in ("byzantine", "curious", "down_at_end"):
        yield key, content.get(key) or []
