"""One strict JSON line from any Python values: never an exception, never more than Cloud Logging takes.

The values are those that ``plain`` made. What msgspec's encoder refuses all the same (a lone surrogate, a huge integer)
is copied once more.
"""

from __future__ import annotations

import json
from typing import Any

from obskit.base.fork_lock import no_fork
from obskit.base.plain import TRUNCATED, plain

MAX_BYTES = 250_000
"""Cloud Logging takes entries of up to 256 KiB, by a measure of its own that is not the JSON's length."""

_MAX_TEXT = 32_768


def _encode(value: Any) -> bytes:
    """Stand in for msgspec's encoder until the first line is written: importing it costs more than ``init()``."""
    global _encode  # noqa: PLW0603 - this name is what the first call replaces
    try:
        with no_fork():
            from msgspec.json import encode
    except Exception:  # the interpreter is ending, or no file can be opened: not for good
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
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
        return value if len(value) <= limit else value[:limit] + TRUNCATED
    if isinstance(value, dict):
        return {_cut(key, limit): _cut(item, limit) for key, item in list(value.items())[: max(limit, 64)]}
    if isinstance(value, list):
        return [_cut(item, limit) for item in value[:limit]]
    return value
