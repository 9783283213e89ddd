"""Line numbers for the keys of a TOML text.

``tomllib`` gives values without positions. This scanner walks a text that ``tomllib`` has already accepted
and notes where every key, table and list element begins; it never judges.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Key: TypeAlias = tuple[str | int, ...]
"""A path into a document: table keys, and list positions as numbers."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:\\.|[^"\\\n])*"' + r"|'[^'\n]*'", re.DOTALL
)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")


def index(text: str) -> Mapping[Key, int]:
    """Where each key, table and list element of a document starts.

    Args:
        text: valid TOML.

    Returns:
        1-based line numbers by path; ``()`` is line 1. A table opened more than once (``[a.b]``, ``[a.c]``)
        is where its name first appears.
    """
    return _Scanner(text).document()


def line_of(lines: Mapping[Key, int], key: Key) -> int:
    """The line of a key, or of the innermost table around it that the text has."""
    return lines[present(lines, key)]


def present(lines: Mapping[Key, int], key: Key) -> Key:
    """The longest beginning of ``key`` that the text has."""
    return next(key[:end] for end in range(len(key), -1, -1) if key[:end] in lines)


def common(a: Key, b: Key) -> Key:
    """What two paths begin with."""
    return next(a[:end] for end in range(min(len(a), len(b)), -1, -1) if a[:end] == b[:end])


def dotted(key: Sequence[str | int]) -> str:
    """Write a path as TOML would, with list positions in brackets: ``fault[0].node``."""
    words = ""
    for part in key:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            bare = _BARE.fullmatch(part) is not None
            # JSON's escapes are TOML's
            words += ("." if words else "") + (part if bare else json.dumps(part, ensure_ascii=False))
    return words


def undotted(text: str) -> Key:
    """Read what :func:`dotted` wrote."""
    key: list[str | int] = []
    for element, word in re.findall(r'\[(\d+)\]|("(?:\\.|[^"\\])*"|[A-Za-z0-9_-]+)', text):
        key += [int(element)] if element else split(word)
    return tuple(key)


def split(text: str) -> tuple[str, ...]:
    """Read a dotted key as TOML does: ``a."b.c".d``.

    Raises:
        ValueError: it is not a key.
    """
    scanner = _Scanner(text)
    try:
        parts = scanner.dotted_key()
    except (IndexError, tomllib.TOMLDecodeError):
        parts = ()
    if not parts or scanner.at != len(text):
        raise ValueError(f"{text!r} is not a dotted key like protocol.rounds")
    return parts


class _Scanner:
    """A position in a text, and what was found before it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Key, int] = {(): 1}
        self._newlines = [i for i, char in enumerate(text) if char == "\n"]
        self._elements: dict[Key, int] = {}

    def document(self) -> Mapping[Key, int]:
        table: Key = ()
        while self._skip() < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(2, element=True)
            elif self.text[self.at] == "[":
                table = self._header(1, element=False)
            else:
                self._pair(table)
        return self.lines

    def dotted_key(self) -> tuple[str, ...]:
        parts = [self._word()]
        while self._spaces() < len(self.text) and self.text[self.at] == ".":
            self.at += 1
            self._spaces()
            parts.append(self._word())
        return tuple(parts)

    def _header(self, brackets: int, *, element: bool) -> Key:
        start = self.at
        self.at += brackets
        self._spaces()
        names = self.dotted_key()
        self._spaces()
        self.at += brackets
        path: Key = ()
        for depth, name in enumerate(names, 1):
            path = (*path, name)
            self._note(path, start)
            if depth == len(names) and element:
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path = (*path, self._elements[path] - 1)  # [a.b] after [[a]] belongs to the last a
                self._note(path, start)
        return path

    def _pair(self, table: Key) -> None:
        start = self.at
        path = table
        for name in self.dotted_key():
            path = (*path, name)
            self._note(path, start)
        self._spaces()
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Key) -> None:
        self._spaces()
        opening = self.text[self.at]
        if opening == "[":
            self._items("]", path)
        elif opening == "{":
            self._items("}", path)
        elif string := _STRING.match(self.text, self.at):
            self.at = string.end()
        else:
            self.at = self._end(_SCALAR)

    def _items(self, closing: str, path: Key) -> None:
        self.at += 1
        count = 0
        while self.text[self._skip()] != closing:
            if closing == "}":
                self._pair(path)
            else:
                self._note((*path, count), self.at)
                self._value((*path, count))
                count += 1
            if self.text[self._skip()] == ",":
                self.at += 1
        self.at += 1

    def _word(self) -> str:
        if string := _STRING.match(self.text, self.at):
            self.at = string.end()
            word: str = tomllib.loads("key = " + string[0])["key"]
            return word
        start, self.at = self.at, self._end(_BARE)
        if start == self.at:
            raise IndexError(start)
        return self.text[start : self.at]

    def _note(self, path: Key, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._newlines, at - 1) + 1)

    def _skip(self) -> int:
        self.at = self._end(_BLANK)
        return self.at

    def _spaces(self) -> int:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1
        return self.at

    def _end(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        return match.end() if match else self.at
