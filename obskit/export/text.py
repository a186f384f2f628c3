"""Values of any allowed type as text."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from obskit.tracing.values import encodable


def value_text(value: Any) -> str:
    """Return what a tag says for ``value``: text as it is, bytes in Base64, nothing for None, JSON for the rest.

    That is what OpenTelemetry's specification says for where there is text only (common/README.md, AnyValue).
    """
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass, which no encoder takes, the plain text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return "" if value is None else json_text(value)


def number_text(value: float) -> str:
    """Return a number's digits."""
    try:
        return str(value)
    except ValueError:  # more digits than Python prints (sys.set_int_max_str_digits)
        return hex(int(value))


def json_text(value: Any) -> str:
    """Return ``value`` as JSON; what JSON cannot hold, such as a lone surrogate or a giant number, as its like."""
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, OverflowError, TypeError):
        return msgspec.json.encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {encodable(value_text(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return encodable(value_text(value))
