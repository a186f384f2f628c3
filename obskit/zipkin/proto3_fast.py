"""A fast path for ``zipkin.proto3``: messages in the form that protobuf's libraries write.

It takes a fifth of the time; a message with anything unusual is decoded by ``proto3_decode`` from its start. So this
module has no rules for unusual messages, it only has to notice them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from obskit.base.protobuf import read_varint
from obskit.zipkin import proto3_decode
from obskit.zipkin.decoding import check_number
from obskit.zipkin.model import Annotation, Endpoint, Span

_KINDS = (None, "CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_ZEROS = bytes(8)
_MAX_PORT = 65535
_MOST_REMEMBERED = 10_000
_LONGEST_USUAL = 200  # bytes of cached texts
_endpoints: dict[bytes, Endpoint | None] = {}
_texts: dict[bytes, str] = {}


class _OddError(Exception):
    """The message is not in the usual form."""


def read_list(body: bytes) -> list[Span]:
    """Return the normalised spans of a ListOfSpans. Raises DecodeError, as ``proto3_decode.decode_list`` does."""
    try:
        spans = _spans(body)
    except (_OddError, LookupError, ValueError):
        return proto3_decode.decode_list(body)
    check_number(len(spans))
    return spans


def _spans(data: bytes) -> list[Span]:
    spans: list[Span] = []
    position = 0
    while position < len(data):
        if data[position] != 0x0A:
            raise _OddError
        start, position = _length(data, position + 1)
        if position > len(data) or start == position:
            raise _OddError
        spans.append(_span(data, start, position))
    return spans


def _length(data: bytes, position: int) -> tuple[int, int]:
    """Return begin and end of a length-delimited field."""
    length = data[position]
    position += 1
    if length > 127:
        more = data[position]
        position += 1
        length = length & 127 | (more & 127) << 7
        if more > 127:
            last = data[position]
            position += 1
            length |= last << 14
            if last > 127:
                raise _OddError
    return position, position + length


def _span(data: bytes, position: int, end: int) -> Span:
    """Return a span, whose fields may come in any order, but each at most once and in its usual form."""
    fields: dict[str, Any] = {}
    annotations: list[tuple[int, str]] = []
    tags: dict[str, str] = {}
    while position < end:
        key, start = data[position], position + 1
        if key in _NUMBERS:
            name, read_number = _NUMBERS[key]
            value, position = read_number(data, start)
        else:
            start, position = _length(data, start)
            if key == _TAG:
                tag, text = _tag(data, start, position)
                tags[tag] = text
                continue
            if key == _ANNOTATION:
                annotations.append(_annotation(data, start, position))
                continue
            name, read = _BYTES[key]
            value = read(data[start:position])
        if name in fields:
            raise _OddError
        fields[name] = value
    if position != end or "trace_id" not in fields or "id" not in fields:
        raise _OddError
    return _finished(fields, annotations, tags)


def _finished(fields: dict[str, Any], annotations: list[tuple[int, str]], tags: dict[str, str]) -> Span:
    if fields.get("parent_id") == fields["id"]:
        fields["parent_id"] = None
    if fields.get("kind") == "CLIENT":
        fields["shared"] = False
    if annotations:
        fields["annotations"] = [Annotation(*pair) for pair in sorted(set(annotations))]
    return Span(**fields, tags=tags)


def _id(data: bytes) -> str:
    if len(data) != 8 or data == _ZEROS:
        raise _OddError
    return data.hex()


def _trace_id(data: bytes) -> str:
    if len(data) not in {8, 16} or data.startswith(_ZEROS):
        raise _OddError
    return data.hex()


def _name(data: bytes) -> str | None:
    return _text(data).lower() or None


def _timestamp(data: bytes, position: int) -> tuple[int | None, int]:
    moment = int.from_bytes(data[position : position + 8], "little", signed=True)
    return moment if moment > 0 else None, position + 8


def _duration(data: bytes, position: int) -> tuple[int | None, int]:
    number, position = _number(data, position)
    return number or None, position


def _kind(data: bytes, position: int) -> tuple[str | None, int]:
    return _KINDS[data[position]], position + 1


def _boolean(data: bytes, position: int) -> tuple[bool, int]:
    if data[position] > 1:
        raise _OddError
    return data[position] == 1, position + 1


def _tag(data: bytes, position: int, end: int) -> tuple[str, str]:
    if data[position] != 0x0A:
        raise _OddError
    start, position = _length(data, position + 1)
    key, value = _text(data[start:position]), ""
    if position != end:
        if data[position] != 0x12:
            raise _OddError
        start, position = _length(data, position + 1)
        value = data[start:position].decode()
    if position != end or not key:
        raise _OddError
    return key, value


def _annotation(data: bytes, position: int, end: int) -> tuple[int, str]:
    if data[position] != 0x09 or data[position + 9] != 0x12:
        raise _OddError
    moment = int.from_bytes(data[position + 1 : position + 9], "little", signed=True)
    start, position = _length(data, position + 10)
    if position != end or start == position or not moment:
        raise _OddError
    return moment, data[start:position].decode()


def _number(data: bytes, position: int) -> tuple[int, int]:
    number, position = read_varint(data, position)
    if number >> 63:
        raise _OddError
    return number, position


def _endpoint(data: bytes) -> Endpoint | None:
    """Return an endpoint. Endpoints are cached, as there are few different ones."""
    if data in _endpoints:
        return _endpoints[data]
    found = _read_endpoint(data)
    if len(_endpoints) >= _MOST_REMEMBERED:
        _endpoints.clear()
    if len(data) <= _LONGEST_USUAL:
        _endpoints[data] = found
    return found


def _read_endpoint(data: bytes) -> Endpoint | None:
    fields: dict[str, Any] = {}
    position = 0
    while position < len(data):
        key, start = data[position], position + 1
        if key == 0x20:
            port, position = _number(data, start)
            if port > _MAX_PORT:
                raise _OddError
            fields["port"] = port or None
            continue
        start, position = _length(data, start)
        if key == 0x0A:
            fields["service_name"] = _text(data[start:position]).lower() or None
        elif key in {0x12, 0x1A}:
            fields.update(proto3_decode.addresses(data[start:position]))
        else:
            raise _OddError
    if position != len(data):
        raise _OddError
    endpoint = Endpoint(**fields)
    return endpoint if endpoint != Endpoint() else None


def _text(data: bytes) -> str:
    """Return a name or a tag's key. They are cached, as there are few different ones."""
    found = _texts.get(data)
    if found is None:
        found = data.decode()
        if len(_texts) >= _MOST_REMEMBERED:
            _texts.clear()
        if len(data) <= _LONGEST_USUAL:
            _texts[data] = found
    return found


_TAG, _ANNOTATION = 0x5A, 0x52
_BYTES: dict[int, tuple[str, Callable[[bytes], object]]] = {
    0x0A: ("trace_id", _trace_id),
    0x12: ("parent_id", _id),
    0x1A: ("id", _id),
    0x2A: ("name", _name),
    0x42: ("local_endpoint", _endpoint),
    0x4A: ("remote_endpoint", _endpoint),
}
_NUMBERS: dict[int, tuple[str, Callable[[bytes, int], tuple[object, int]]]] = {
    0x20: ("kind", _kind),
    0x31: ("timestamp", _timestamp),
    0x38: ("duration", _duration),
    0x60: ("debug", _boolean),
    0x68: ("shared", _boolean),
}
