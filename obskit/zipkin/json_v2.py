"""Encodes and decodes Zipkin v2 JSON; accepts, refuses and writes exactly what the reference does.

Source: ``zipkin2.codec.SpanBytesDecoder.JSON_V2`` and ``SpanBytesEncoder.JSON_V2`` (openzipkin/zipkin
3.6.1); their answers to 150 bodies are the test vectors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from obskit.zipkin.addresses import parse_ip
from obskit.zipkin.decoding import DecodeError, check_number, finish_span
from obskit.zipkin.ids import normalise_parent_id, normalise_span_id, normalise_trace_id
from obskit.zipkin.model import Endpoint, Span

# Deterministic sorts the keys of dicts (tags) and keeps the order of struct fields: the reference's order.
_encoder = msgspec.json.Encoder(order="deterministic")
_encode = _encoder.encode

_is_integer = re.compile(r"[+-]?[0-9]{1,19}").fullmatch
_is_decimal = re.compile(r"[\0-\x20]*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[\0-\x20]*").fullmatch
may_hold_surrogates = re.compile(r"\\u[dD][89a-fA-F]").search
_KINDS = frozenset({"CLIENT", "SERVER", "PRODUCER", "CONSUMER"})
_MAX_LONG = 2**63 - 1
_MAX_INT = 2**31 - 1
_MAX_PORT = 65535
_MAX_DEPTH = 255
_T = TypeVar("_T")
_SHOWN = 60  # characters of a refused value that an error quotes


# --- writing -------------------------------------------------------------------------------------------


def encode_span(span: Span) -> bytes:
    """Return one span as a JSON object in UTF-8. Raises msgspec's error for a field of a wrong type."""
    try:
        data = _encode(span)
    except UnicodeEncodeError:
        data = msgspec.json.encode(without_surrogates(msgspec.to_builtins(span, order="deterministic")))
    return _escaped(data)


def encode_each(spans: Sequence[Span]) -> list[bytes]:
    """Return ``encode_span`` of each, in a third less time than one by one."""
    try:
        lines = _encoder.encode_lines(spans)
    except UnicodeEncodeError:
        return [encode_span(span) for span in spans]
    return _escaped(lines).split(b"\n")[:-1]  # JSON has no newline within a text


def _escaped(data: bytes) -> bytes:
    """Escape U+2028 and U+2029, which end a line in older JavaScript, as the reference does."""
    if 0xE2 in data:  # searching for one byte is many times faster than for two, and most spans lack it
        return data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def encode_list(spans: list[Span]) -> bytes:
    """Return spans as a JSON list in UTF-8."""
    return join_encoded(encode_each(spans))


def join_encoded(encoded: list[bytes]) -> bytes:
    """Return spans encoded by ``encode_span`` as one JSON list.

    It is large, and copied once: a second copy would have the thread's memory returned to the system with each batch.
    """
    if len(encoded) < 2:
        return b"[" + b"".join(encoded) + b"]"
    return b",".join([b"[" + encoded[0], *encoded[1:-1], encoded[-1] + b"]"])


def without_surrogates(value: Any) -> Any:
    """Return a JSON value with each lone surrogate, which UTF-8 cannot encode, replaced by ``?``."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_surrogates, value))
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value


# --- reading -------------------------------------------------------------------------------------------


def _refuse_constant(name: str) -> None:
    raise DecodeError(f"{name} is not JSON; leave the field out")


# Numbers stay text, because a tag keeps `1.50` as written; objects stay pairs, because the reference reads
# duplicate keys one after the other. A tuple is an object, a list is an array.
def parser(number: Callable[[str], str]) -> Callable[[str], tuple[Any, int]]:
    """Return a parser of JSON text that converts numbers with ``number``."""
    return json.JSONDecoder(
        strict=False, parse_int=number, parse_float=number, parse_constant=_refuse_constant, object_pairs_hook=tuple
    ).raw_decode


_parse = parser(str)


def decode_list(body: bytes) -> list[Span]:
    """Return the normalised spans of a JSON list; no bytes mean no spans. Bytes after the list are ignored.

    Every string in the spans can be encoded as UTF-8.

    Raises DecodeError: one bad span refuses the whole list.
    """
    return read_items(body, _read_span)


def read_items(body: bytes, read: Callable[[object], _T], parse: Callable[[str], tuple[Any, int]] = _parse) -> list[_T]:
    """Return the result of ``read`` for each item of a JSON list. Raises DecodeError."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").lstrip(" \t\r\n")
    if not body:
        return []
    try:
        value, _ = parse(text)
        value = without_surrogates(value) if may_hold_surrogates(text) else value
    except json.JSONDecodeError as error:
        raise DecodeError(f"malformed JSON: {error}") from None
    except RecursionError:
        raise DecodeError(f"malformed JSON: nested deeper than {_MAX_DEPTH}") from None
    if not isinstance(value, list):
        raise DecodeError(f"expected a list of spans, got {_describe(value)}")
    check_number(len(value))
    return [_numbered(number, item, read) for number, item in enumerate(value)]


def _numbered(number: int, value: object, read: Callable[[object], _T]) -> _T:
    try:
        return read(value)
    except ValueError as error:
        raise DecodeError(f"span {number}: {error}") from None


def _read_span(value: object) -> Span:
    fields: dict[str, Any] = {}
    annotations: set[tuple[int, str]] = set()
    tags: dict[str, str] = {}
    for key, item in pairs(value, "a span"):
        if item is None and key not in {"traceId", "id"}:
            continue
        if key in _FIELDS:
            name, read = _FIELDS[key]
            fields[name] = read(item)
        elif key == "annotations":
            annotations.update(_read_annotations(item))
        elif key == "tags":
            tags.update(_read_tags(item))
        elif key in {"debug", "shared"}:
            fields[key] = boolean_of(item, key) or fields.get(key, False)
        else:
            check_depth(item, 2)
    return finish_span(fields, annotations, tags)


def _read_tags(value: object) -> Iterator[tuple[str, str]]:
    for key, item in pairs(value, "tags"):
        if not isinstance(item, str):
            raise ValueError(f"tag {_cut(key)} must have a string, got {_describe(item)}")
        yield key, item


def _read_annotations(value: object) -> Iterator[tuple[int, str]]:
    if not isinstance(value, list):
        raise ValueError(f"annotations must be a list, got {_describe(value)}")
    for item in value:
        fields: dict[str, Any] = {}
        for key, part in pairs(item, "an annotation"):
            if key == "timestamp":
                fields[key] = number_of(part, "annotation timestamp")
            elif key == "value":
                fields[key] = text_of(part, "annotation value")
            else:
                check_depth(part, 4)
        if len(fields) < 2:
            raise ValueError("an annotation needs a timestamp and a value")
        yield fields["timestamp"], fields["value"]


def read_endpoint(value: object) -> Endpoint | None:
    """Return an endpoint, or None for an empty one. Raises ValueError, as all of the following do."""
    fields: dict[str, Any] = {}
    for key, item in pairs(value, "an endpoint"):
        if item is None:
            continue
        if key == "serviceName":
            fields["service_name"] = lower_of(item)
        elif key in {"ipv4", "ipv6"}:  # either key may hold either family; an invalid address is skipped
            address = parse_ip(text_of(item, key))
            fields.update([address] if address else [])
        elif key == "port":
            fields["port"] = _port(item)
        else:
            check_depth(item, 3)
    endpoint = Endpoint(**fields)
    return endpoint if endpoint != Endpoint() else None


def pairs(value: object, what: str) -> tuple[tuple[str, object], ...]:
    """Return the keys and values of an object."""
    if not isinstance(value, tuple):
        raise ValueError(f"{what} must be an object, got {_describe(value)}")
    return value


def text_of(value: object, what: str) -> str:
    """Return a string, or the text of a number."""
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a string, got {_describe(value)}")
    return value


def lower_of(value: object) -> str | None:
    """Return a name in lower case, or None."""
    return text_of(value, "name").lower() or None


def _kind(value: object) -> str:
    kind = text_of(value, "kind")
    if kind not in _KINDS:
        raise ValueError(f"kind {_cut(kind)} is not CLIENT, SERVER, PRODUCER or CONSUMER")
    return kind


def boolean_of(value: object, what: str) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise ValueError(f"{what} must be true or false, got {_describe(value)}")
    return value


def number_of(value: object, what: str) -> int:
    """Return a 64-bit integer from its digits, or from a decimal such as ``1e15`` or ``" 123.0"`` without a fraction.

    A decimal, or an integer of more than 19 digits, is read as a Java double: 2^63 saturates, more is refused.
    """
    text = text_of(value, what)
    if _is_integer(text) and abs(number := int(text)) <= _MAX_LONG:
        return number
    if not _is_decimal(text):
        raise ValueError(f"{what} {_cut(text)} is not a number")
    decimal = float(text)
    if abs(decimal) > _MAX_LONG + 1 or decimal != int(decimal):
        raise ValueError(f"{what} {_cut(text)} is not a 64-bit integer")
    return max(-_MAX_LONG - 1, min(int(decimal), _MAX_LONG))


def _positive(value: object) -> int | None:
    number = number_of(value, "timestamp or duration")
    return number if number > 0 else None


def _port(value: object) -> int | None:
    port = number_of(value, "port")
    if not -_MAX_INT - 1 <= port <= _MAX_PORT:
        raise ValueError(f"port {port} is out of range; send 0 to {_MAX_PORT}")
    return port if port > 0 else None


def check_depth(value: object, depth: int) -> None:
    """Raise ValueError for a skipped field that, within ``depth`` containers, nests deeper than the reference reads."""
    level = [value]
    while level := [parent for parent in level if isinstance(parent, (list, tuple))]:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"a field is nested deeper than {_MAX_DEPTH}")
        level = [item for parent in level for item in parent]


def _cut(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _describe(value: object) -> str:
    """Return a short description of a JSON value of the wrong type, for an error."""
    if isinstance(value, str):
        return f"the text or number {_cut(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return "an object" if isinstance(value, tuple) else "a list"


_FIELDS: dict[str, tuple[str, Callable[[object], object]]] = {
    "traceId": ("trace_id", lambda value: normalise_trace_id(text_of(value, "traceId"))),
    "id": ("id", lambda value: normalise_span_id(text_of(value, "id"))),
    "parentId": ("parent_id", lambda value: normalise_parent_id(text_of(value, "parentId"))),
    "kind": ("kind", _kind),
    "name": ("name", lower_of),
    "timestamp": ("timestamp", _positive),
    "duration": ("duration", _positive),
    "localEndpoint": ("local_endpoint", read_endpoint),
    "remoteEndpoint": ("remote_endpoint", read_endpoint),
}
