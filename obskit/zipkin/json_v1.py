"""Decodes Zipkin v1 JSON, which old reporters send to ``/api/v1/spans``.

Source: ``zipkin2.internal.V1JsonSpanReader`` (openzipkin/zipkin 3.6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from obskit.zipkin.ids import normalise_parent_id, normalise_span_id, normalise_trace_id, trace_key
from obskit.zipkin.json_v2 import (
    boolean_of,
    check_depth,
    lower_of,
    number_of,
    pairs,
    parser,
    read_endpoint,
    read_items,
    text_of,
)
from obskit.zipkin.model import Span
from obskit.zipkin.v1 import ADDRESSES, Event, Fact, V1Span, convert


def decode_list(body: bytes) -> list[Span]:
    """Return the spans of a JSON list in the v2 model. Raises DecodeError: one bad span refuses the whole list."""
    return [span for spans in read_items(body, _read_span, _parse) for span in spans]


class _Number(str):
    """A number, as its text, told apart from a string where only a string is valid."""

    __slots__ = ()


_parse = parser(_Number)


def _read_span(value: object) -> list[Span]:
    fields: dict[str, Any] = {}
    for key, item in pairs(value, "a span"):
        if item is None and key not in {"traceId", "id"}:
            continue
        if key in _FIELDS:
            name, read = _FIELDS[key]
            fields[name] = read(item)
        else:
            check_depth(item, 2)
    missing = [key for key, name in (("traceId", "trace_id"), ("id", "id")) if name not in fields]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}")
    return convert(V1Span(**fields))


def _events(value: object) -> list[Event]:
    found = []
    for item in _items(value, "annotations"):
        fields: dict[str, Any] = {"timestamp": 0, "value": None, "endpoint": None}
        for key, part in pairs(item, "an annotation"):
            if key == "timestamp":
                fields[key] = number_of(part, "annotation timestamp")
            elif key == "value":
                fields[key] = text_of(part, "annotation value")
            elif key == "endpoint" and part is not None:
                fields[key] = read_endpoint(part)
        if not fields["timestamp"] or fields["value"] is None:
            raise ValueError("an annotation needs a timestamp and a value")
        found.append(Event(**fields))
    return found


def _facts(value: object) -> list[Fact]:
    return [fact for item in _items(value, "binaryAnnotations") for fact in _fact(item)]


def _fact(item: object) -> Iterator[Fact]:
    """Read a binary annotation: strings are tags, true is an address; other types are skipped, as in the reference."""
    fields = {key: part for key, part in pairs(item, "a binary annotation") if part is not None}
    if "key" not in fields:
        raise ValueError("a binary annotation needs a key")
    key = text_of(fields["key"], "a key")
    endpoint = read_endpoint(fields["endpoint"]) if "endpoint" in fields else None
    content = fields.get("value")
    if isinstance(content, str) and not isinstance(content, _Number):
        yield Fact(key, content, endpoint)
    elif content is True and endpoint is not None and key in ADDRESSES:
        yield Fact(key, "", endpoint)


def _items(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list")
    return value


def _id(value: object) -> str:
    """Return a span's id, of which any spelling of zero is refused: in version 1 it is a number."""
    return normalise_span_id(text_of(value, "id").rjust(16, "0"))


_FIELDS: dict[str, tuple[str, Callable[[object], object]]] = {
    "traceId": ("trace_id", lambda value: trace_key(normalise_trace_id(text_of(value, "traceId")))),
    "id": ("id", _id),
    "parentId": ("parent_id", lambda value: normalise_parent_id(text_of(value, "parentId"))),
    "name": ("name", lower_of),
    "timestamp": ("timestamp", lambda value: number_of(value, "timestamp")),
    "duration": ("duration", lambda value: number_of(value, "duration")),
    "debug": ("debug", lambda value: boolean_of(value, "debug")),
    "annotations": ("events", _events),
    "binaryAnnotations": ("facts", _facts),
}
