"""Contents of pages in Markdown: links to their headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator


def contents(body: str) -> str:
    """Return a list with a line for each section, which holds the links to its subsections."""
    lines: list[str] = []
    inner: list[str] = []
    for level, title, anchor in headings(body):
        link = f"[{title.replace('[', chr(92) + '[').replace(']', chr(92) + ']')}](#{anchor})"
        if level == 2:
            lines += _wrapped(inner)
            lines.append(f"- {link}")
            inner = []
        elif level == 3:
            inner.append(link)
    return "\n".join([*lines, *_wrapped(inner)])


def headings(text: str) -> Iterator[tuple[int, str, str]]:
    """List level, title and anchor of the headings of a page, those of code blocks left out."""
    seen: Counter[str] = Counter()
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for marks, title in re.findall(r"^(#+) (.+)$", outside, flags=re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        anchor = f"{plain}-{seen[plain]}" if seen[plain] else plain
        seen[plain] += 1
        yield len(marks), title, anchor


def _wrapped(links: list[str]) -> list[str]:
    """Return links as the continuation of a list entry, a few in a line."""
    rows = [" · ".join(links[i : i + 4]) for i in range(0, len(links), 4)]
    return [f"  {row}{' ·' if row is not rows[-1] else ''}" for row in rows]
