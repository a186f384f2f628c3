"""Encodes an entry as one line of strict JSON: never raises, and never exceeds Cloud Logging's limit.

The values are those that ``plain`` returns. Those that msgspec's encoder still refuses (lone surrogates, huge integers)
are replaced in a second pass.
"""

from __future__ import annotations

import json
from typing import Any

from obskit.base.fork_lock import no_fork
from obskit.base.interruptions import let_through
from obskit.base.plain import TRUNCATED, plain

MAX_BYTES = 250_000
"""Bytes. Cloud Logging's limit is 256 KiB by a measure of its own, which is not the length of the JSON."""

_MAX_TEXT = 32_768


def _encode(value: Any) -> bytes:
    """Import msgspec's encoder for the first line, and replace this function: the import is slower than ``init()``."""
    global _encode  # noqa: PLW0603 - the first call replaces this function
    try:
        with no_fork():
            from msgspec.json import encode
    except Exception:  # the interpreter is shutting down, or out of file descriptors: try again next time
        let_through()
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    _encode = encode  # type: ignore[assignment]
    return encode(value)


def dumps(entry: dict[str, Any]) -> bytes:
    """Return ``entry``, of plain values, as one line of strict JSON in UTF-8, without a line end. Never raises."""
    try:
        line = _encode(entry)
    except Exception:  # a lone surrogate, a huge integer
        let_through()
        line = _encode(plain(entry))
    if len(line) > MAX_BYTES:
        line = _encode(_shrink(entry))
    return line if line.isascii() else _escape_line_ends(line)


def _escape_line_ends(line: bytes) -> bytes:
    """Escape characters that some readers take as line ends: U+0085, U+2028 and U+2029."""
    line = line.replace(b"\xc2\x85", b"\\u0085")
    return line.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def _shrink(entry: dict[str, Any]) -> dict[str, Any]:
    """Return ``entry`` with long texts cut, ever shorter until it fits; special fields are kept before others."""
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
