"""One strict JSON line from any Python values: never an exception, never more than Cloud Logging takes.

The fast way is msgspec's encoder. What it refuses (lone surrogates, cycles, keys that are not text, huge integers,
objects it does not know) goes the slow way, which copies the value into what JSON has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

MAX_BYTES = 250_000
"""Cloud Logging takes entries of up to 256 KiB, by a measure of its own that is not the JSON's length."""

_MAX_DEPTH = 16
_MAX_ITEMS = 1_000
_MAX_TEXT = 32_768
_TRUNCATED = "...[truncated]"
_MAX_SAFE_INT = 2**63

Show = Callable[[str, Any], Any]
"""Returns a value as it may be shown under its key (see ``tracing.redaction``)."""


def _encode(value: Any) -> bytes:
    """Stand in for msgspec's encoder until the first line is written: importing it costs more than ``init()``."""
    global _encode  # noqa: PLW0603 - this name is what the first call replaces
    from msgspec.json import encode

    _encode = encode  # type: ignore[assignment]
    return encode(value)


def dumps(entry: dict[str, Any]) -> bytes:
    """Return ``entry``, of plain values, as one line of strict JSON in UTF-8, without the line's end. Never raises."""
    try:
        line = _encode(entry)
    except Exception:  # a lone surrogate, a huge integer
        line = _encode(plain(entry))
    if len(line) > MAX_BYTES:
        line = _encode(_shrink(entry))
    return line if line.isascii() else _escape_line_ends(line)


def _escape_line_ends(line: bytes) -> bytes:
    """Escape what ends a line for some readers: U+0085, U+2028 and U+2029."""
    line = line.replace(b"\xc2\x85", b"\\u0085")
    return line.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def _as_it_is(_key: str, value: Any) -> Any:
    return value


def plain(value: Any, show: Show = _as_it_is, depth: int = 0) -> Any:  # noqa: PLR0911 - one a type
    """Return ``value`` in JSON's own types: what JSON lacks as text, cycles and great depths cut off."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, int):
        return int(value) if -_MAX_SAFE_INT <= value < _MAX_SAFE_INT else _safe(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if depth >= _MAX_DEPTH:
        return f"...[deeper than {_MAX_DEPTH}]"
    if isinstance(value, Mapping):
        return _mapping(value, show, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _items(value, show, depth)
    if isinstance(value, bytes | bytearray):
        return _text(bytes(value).decode("utf-8", "backslashreplace"))
    return _object(value, show, depth)


def _mapping(value: Mapping[Any, Any], show: Show, depth: int) -> dict[str, Any]:
    try:
        items = [(_key(key), item) for key, item in islice(value.items(), _MAX_ITEMS)]
    except Exception:
        return {"unprintable": type(value).__name__}
    return {key: plain(show(key, item), show, depth + 1) for key, item in items}


def _items(value: Any, show: Show, depth: int) -> list[Any]:
    try:
        items = list(islice(value, _MAX_ITEMS))
    except Exception:
        return [f"<unprintable {type(value).__name__}>"]
    return [plain(show("", item), show, depth + 1) for item in items]


def _object(value: Any, show: Show, depth: int) -> Any:
    """Return what msgspec makes of dataclasses, dates, UUIDs, enumerations and the like; other objects as text."""
    from msgspec import to_builtins

    try:
        known = to_builtins(value, str_keys=True)
    except Exception:
        return _safe(value)
    return _safe(value) if known is value else plain(known, show, depth + 1)


def _key(key: Any) -> str:
    return _text(key) if isinstance(key, str) else _safe(key)


def _safe(value: Any) -> str:
    """Return ``str(value)``; what cannot be shown so (a failing method, too many digits) by its type."""
    try:
        return _text(str(value))
    except Exception:
        if isinstance(value, int):
            return hex(value)[: _MAX_TEXT // 2]
        return f"<unprintable {type(value).__name__}>"


def _text(text: str) -> str:
    """Return ``text`` as UTF-8 can hold it; a lone surrogate becomes ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _shrink(entry: dict[str, Any]) -> dict[str, Any]:
    """Return ``entry`` with long texts cut, harder and harder until it fits; known fields come before the caller's."""
    copy: dict[str, Any] = plain(entry)
    limit = _MAX_TEXT
    while len(_encode(copy)) > MAX_BYTES and limit > 8:
        copy = _cut(copy, limit)
        limit //= 4
    while len(_encode(copy)) > MAX_BYTES:
        copy.popitem()
    copy["truncated"] = True
    return copy


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + _TRUNCATED
    if isinstance(value, dict):
        return {_cut(key, limit): _cut(item, limit) for key, item in list(value.items())[: max(limit, 64)]}
    if isinstance(value, list):
        return [_cut(item, limit) for item in value[:limit]]
    return value
