"""Paths and names compared with patterns, in time linear in their length: callers choose the paths.

A regular expression with several ``.*`` takes polynomial time, and a path may have thousands of characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Matches = Callable[[str], bool]

_PLACEHOLDER = re.compile(r"\{[^{}/]*\}|<[^<>/]*>")
_REST = re.compile(r"\{\w+:path\}$|<path:\w+>$")  # Starlette's, Flask's and Django's


def glob(pattern: str) -> Matches:
    """Return what tells whether a text is ``pattern``, in which ``*`` stands for any run of characters, ``/`` too."""
    first, *inner = pattern.split("*")
    if not inner:
        return pattern.__eq__
    last = inner.pop()
    if not inner and not last:
        return lambda text: text.startswith(first)
    shortest = len(first) + len(last)

    def matches(text: str) -> bool:
        if len(text) < shortest or not (text.startswith(first) and text.endswith(last)):
            return False
        position, end = len(first), len(text) - len(last)
        for part in inner:
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True

    return matches


def route(pattern: str) -> Matches:
    """Return what tells whether a path may be one of a route, written as frameworks do: ``/orders/{id}``.

    ``{name}``, ``<name>`` and ``<int:name>`` stand for something without a ``/``, ``{name:path}`` and ``<path:name>``
    at the end for anything that is not empty. Routing comes after sampling, so the pattern is compared with the path.
    """
    pattern, rest = _REST.subn("{}", pattern)
    start = _PLACEHOLDER.split(pattern)[0].partition("*")[0]
    segments = [_segment(text) for text in pattern.split("/")]
    splits = len(segments) - rest

    def matches(path: str) -> bool:
        if not path.startswith(start):  # most paths: the rest is slower
            return False
        found = path.split("/", splits)
        return len(found) == len(segments) and all(match(text) for match, text in zip(segments, found, strict=True))

    return matches


def _segment(pattern: str) -> Matches:
    """Return what compares one segment, where a placeholder stands for one character at least."""
    if not _PLACEHOLDER.search(pattern):
        return glob(pattern)
    matches = glob(_PLACEHOLDER.sub("*", pattern))
    least = len(_PLACEHOLDER.sub("_", pattern.replace("*", "")))
    return lambda text: len(text) >= least and matches(text)
