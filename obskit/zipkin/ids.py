"""Trace and span ids as text: lower-case hex, left-padded with zeros to 16 or 32 characters.

Source: ``zipkin2.Span.Builder`` (openzipkin/zipkin 3.6.1), whose answers are the test vectors.
"""

from __future__ import annotations

import re

_is_hex = re.compile(r"[0-9a-f]+").fullmatch
_SPAN_ID = 16
_TRACE_ID = 32


def normalise_trace_id(text: str) -> str:
    """Return the id padded to 16 or 32 characters. If the high half of 32 characters is zero, it is cut off.

    Ids of 17 to 31 characters are padded to 32, whatever their value. Raises ValueError.
    """
    _check("traceId", text, _TRACE_ID)
    if not text.strip("0"):
        raise ValueError("traceId is all zeros; a trace needs at least one other digit")
    if len(text) == _TRACE_ID and text.startswith("0" * _SPAN_ID):
        return text[_SPAN_ID:]
    return text.rjust(_SPAN_ID if len(text) <= _SPAN_ID else _TRACE_ID, "0")


def trace_key(trace_id: str) -> str:
    """Return the key by which a normalised id is stored and looked up: without a high half of zeros."""
    return trace_id.removeprefix("0" * _SPAN_ID) if len(trace_id) == _TRACE_ID else trace_id


def normalise_span_id(text: str) -> str:
    """Return the id padded to 16 characters. Raises ValueError.

    Sixteen zeros are refused, but fewer are padded: the reference reads ``"0"`` as an id, and a collector that
    refused it would lose batches that the reference accepts.
    """
    _check("id", text, _SPAN_ID)
    if text == "0" * _SPAN_ID:
        raise ValueError("id is all zeros; a span needs at least one other digit")
    return text.rjust(_SPAN_ID, "0")


def normalise_parent_id(text: str) -> str | None:
    """Return the id padded to 16 characters, or None for zero, which means a root span. Raises ValueError."""
    _check("parentId", text, _SPAN_ID)
    return text.rjust(_SPAN_ID, "0") if text.strip("0") else None


def _check(field: str, text: str, longest: int) -> None:
    if not text:
        raise ValueError(f"{field} is empty; send 1 to {longest} lower-case hex characters")
    if len(text) > longest:
        raise ValueError(f"{field} has {len(text)} characters; send at most {longest}")
    if not _is_hex(text):
        raise ValueError(f"{field} {text!r} is not lower-case hex without a prefix")
