"""The application's attributes as a span keeps them: plain, bounded values, copied where they could change later.

OpenTelemetry's common specification, AnyValue: text, numbers, truth values, bytes, None, and sequences and maps of
these. Values are looked at by their type's ancestors: ``isinstance`` asks an object for its ``__class__``, which a
lazy one answers by loading itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from obskit.base.interruptions import let_through
from obskit.base.values import text
from obskit.tracing.limits import LONGEST_VALUE, SMALL

_MOST_ITEMS = 10_000
_DEEPEST = 16
_LEFT_OUT = "..."
_LARGE = 2**SMALL
_PLAIN = frozenset([bool, int, float, type(None)])
_PLAIN_OF: dict[type, Callable[[Any], Any]] = {int: int.__int__, float: float.__float__}
_ITEM = 32  # what an item of a sequence takes of a queue, besides its text

Kept = dict[str, Any]


class _Room:
    """How much of one value may still be kept, so that none makes its span too large to wait in a queue."""

    __slots__ = ("characters", "items", "longest")

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.characters = max(longest, LONGEST_VALUE)
        self.items = _MOST_ITEMS


def clean(value: object, longest: int = LONGEST_VALUE) -> Any:
    """Return ``value`` as a span may keep it, each text in it cut to ``longest`` characters. Never raises."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is str:
        return value[:longest]  # type: ignore[index]
    try:
        return _clean(value, _Room(longest), 0)
    except Exception:
        let_through()
        return text(value)[:longest]


def clean_key(key: object) -> str:
    """Return an attribute's name as text. Never raises."""
    return bytes(key).decode("utf-8", "replace") if type(key) is bytes else text(key)


def clean_all(given: object, most: int, longest: int) -> tuple[Kept, int]:
    """Return the attributes of ``given``, a mapping, and how many were left out. May raise what ``given`` does.

    Of more than ``most`` the last ones stay, as in OpenTelemetry's SDK.
    """
    pairs = _pairs(given)
    first = max(0, len(pairs) - most)
    kept = {clean_key(key): clean(value, longest) for key, value in pairs[first:]}
    return kept, first


def weigh(value: object) -> int:
    """Return the characters, about, of a cleaned value that is not small; 0 for the others."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) if len(value) > SMALL else 0  # type: ignore[arg-type]
    if kind is int:
        return value.bit_length() // 3 if value > _LARGE or value < -_LARGE else 0  # type: ignore[attr-defined]
    if isinstance(value, tuple):
        return sum(_ITEM + _weigh_item(item) for item in value)
    if isinstance(value, dict):
        return sum(_ITEM + len(key) + _weigh_item(item) for key, item in value.items())
    return 0


def _weigh_item(item: object) -> int:
    return len(item) if isinstance(item, str | bytes) else weigh(item)


def _clean(value: Any, room: _Room, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    for plain, make in _PLAIN_OF.items():  # subclasses, whose own methods would run later, on another thread
        if issubclass(kind, plain):
            return make(value)
    if issubclass(kind, bytes | bytearray | memoryview):
        return _cut(bytes(value), room)
    if issubclass(kind, Mapping | Sequence) and not issubclass(kind, str):
        return _clean_items(value, room, depth) if depth < _DEEPEST else _LEFT_OUT
    return _cut(text(value), room)


def _clean_items(value: Any, room: _Room, depth: int) -> Any:
    taken: list[Any]
    if issubclass(type(value), Mapping):
        taken = _pairs(value, room.items)
        room.items -= len(taken)
        return {clean_key(key): _clean(item, room, depth + 1) for key, item in taken}
    taken = list(islice(value, room.items))
    room.items -= len(taken)
    return tuple([_clean(item, room, depth + 1) for item in taken])


def _pairs(given: Any, most: int | None = None) -> list[tuple[Any, Any]]:
    """Return up to ``most`` of a mapping's pairs, of a dict in one step that no other thread can come between."""
    items = dict.items(given) if issubclass(type(given), dict) else given.items()
    return list(islice(items, most))


def _cut(value: Any, room: _Room) -> Any:
    """Return the text or bytes that there is room for. OpenTelemetry's limit is for each, ours for all of a value."""
    kept = value[: min(room.longest, room.characters)]
    room.characters -= len(kept)
    return kept
