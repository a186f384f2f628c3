"""Decodes ``zipkin.proto3`` messages as the reference does, including where it deviates from protobuf.

Source: ``zipkin.proto`` (openzipkin/zipkin-api) and ``SpanBytesDecoder.PROTO3`` (openzipkin/zipkin 3.6.1), whose
answers are the test vectors. Its deviations, kept here: an embedded message may read past its own end; the key of a
span in the list is not checked; an empty span ends the list; a boolean is one byte, 0 or 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from obskit.base.protobuf import BYTES, FIXED32, FIXED64, VARINT
from obskit.zipkin.addresses import write_ipv6
from obskit.zipkin.decoding import DecodeError, TooLarge, check_number, finish_span
from obskit.zipkin.ids import normalise_parent_id, normalise_span_id, normalise_trace_id
from obskit.zipkin.model import Endpoint, Span

_KINDS = ("CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_MAX_PORT = 65535
# Java replaces a surrogate encoded in UTF-8 by one character, Python by three.
_with_surrogates_replaced = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?").sub


def decode_list(body: bytes) -> list[Span]:
    """Return the normalised spans of a ListOfSpans.

    Raises DecodeError: one bad span refuses the whole list.
    """
    message, spans = _Message(body), list[Span]()
    try:
        while message.position < len(body):
            message.varint32()
            length = message.length()
            if not length:
                break
            spans.append(_read_span(message, message.position + length))
            check_number(len(spans))
    except TooLarge:
        raise
    except ValueError as error:
        raise DecodeError(f"span {len(spans)}: {error}") from None
    return spans


class _Message:
    """The bytes of a message and the read position. All methods raise ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def keys(self, end: int) -> Iterator[int]:
        """Yield the key of each field up to ``end``; the caller must read or skip each field."""
        while self.position < end:
            yield self.varint32()

    def take(self, length: int) -> bytes:
        start = self.position
        if not 0 <= length <= len(self._data) - start:
            raise ValueError(f"truncated: {length} bytes wanted at {start}, of {len(self._data)}")
        self.position += length
        return self._data[start : self.position]

    def varint32(self) -> int:
        """Return an unsigned number of at most 32 bits."""
        return self._varint(32)

    def signed32(self) -> int:
        number = self._varint(32)
        return number - (1 << 32) if number >> 31 else number

    def signed64(self) -> int:
        number = self._varint(64)
        return number - (1 << 64) if number >> 63 else number

    def fixed64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def boolean(self) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise ValueError(f"a boolean is {byte} at {self.position - 1}; send 0 or 1")
        return bool(byte)

    def length(self) -> int:
        """Return the length of the field that begins here; negative if it does not fit 31 bits, as in Java."""
        length = self.signed32()
        if length > len(self._data) - self.position:
            raise ValueError(f"truncated: {length} bytes wanted at {self.position}, of {len(self._data)}")
        return length

    def blob(self) -> bytes:
        return self.take(self.length())

    def text(self) -> str:
        return _with_surrogates_replaced(b"\xef\xbf\xbd", self.blob()).decode("utf-8", "replace")

    def skip(self, key: int) -> None:
        """Skip an unknown field."""
        kind = key & 7
        if kind == VARINT:
            while self.position < len(self._data) and self.take(1)[0] > 127:
                pass
        elif kind in {FIXED64, FIXED32, BYTES}:
            length = {FIXED64: 8, FIXED32: 4}.get(kind) or self.varint32()
            self.position = min(self.position + length, len(self._data))
        else:
            raise ValueError(f"wire type {kind} at {self.position} is unknown")

    def _varint(self, bits: int) -> int:
        number = shift = 0
        while shift < bits:
            byte = self.take(1)[0]
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if byte > 127 or number >> bits:
            raise ValueError(f"a number of more than {bits} bits ends at {self.position}")
        return number


def _read_span(message: _Message, end: int) -> Span:
    fields: dict[str, Any] = {}
    annotations: list[tuple[int, str]] = []
    tags: dict[str, str] = {}
    for key in message.keys(end):
        if key in _FIELDS:
            name, read = _FIELDS[key]
            fields[name] = read(message)
        elif key == 0x20:
            fields.update(_read_kind(message))
        elif key == 0x52:
            annotations += _read_annotation(message)
        elif key == 0x5A:
            tags.update(_read_tag(message))
        elif key in {0x60, 0x68}:
            name = "debug" if key == 0x60 else "shared"
            fields[name] = message.boolean() or fields.get(name, False)
        else:
            message.skip(key)
    return finish_span(fields, annotations, tags)


def _read_kind(message: _Message) -> Iterator[tuple[str, str]]:
    number = message.signed32()
    if number < 0:
        raise ValueError(f"kind {number} is not one of 0 to {len(_KINDS)}")
    if 1 <= number <= len(_KINDS):
        yield "kind", _KINDS[number - 1]


def _read_endpoint(message: _Message) -> Endpoint | None:
    length = message.length()
    fields: dict[str, Any] = {}
    for key in message.keys(message.position + length):
        if key == 0x0A:
            fields["service_name"] = message.text().lower() or None
        elif key in {0x12, 0x1A}:
            fields.update(addresses(message.blob()))
        elif key == 0x20:
            fields["port"] = _port(message.signed32())
        else:
            message.skip(key)
    endpoint = Endpoint(**fields)
    return endpoint if endpoint != Endpoint() else None


def addresses(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield family and text of an address by its length, whichever field it came in; nothing for any other length."""
    compatible = not any(data[:12]) and data[12:] != b"\0\0\0\1"
    if len(data) == 4 or (len(data) == 16 and compatible):
        yield "ipv4", ".".join(map(str, data[-4:]))
    elif len(data) == 16:
        yield "ipv6", write_ipv6([data[i] << 8 | data[i + 1] for i in range(0, 16, 2)])


def _port(port: int) -> int | None:
    if port > _MAX_PORT:
        raise ValueError(f"port {port} is out of range; send 0 to {_MAX_PORT}")
    return port if port > 0 else None


def _read_annotation(message: _Message) -> Iterator[tuple[int, str]]:
    length = message.length()
    timestamp, value = 0, ""
    for key in message.keys(message.position + length):
        if key == 0x09:
            timestamp = message.fixed64()
        elif key == 0x12:
            value = message.text()
        else:
            message.skip(key)
    if timestamp and value:
        yield timestamp, value


def _read_tag(message: _Message) -> Iterator[tuple[str, str]]:
    length = message.length()
    name, value = "", ""
    for key in message.keys(message.position + length):
        if key == 0x0A:
            name = message.text()
        elif key == 0x12:
            value = message.text() or value
        else:
            message.skip(key)
    if name:
        yield name, value


def _positive(number: int) -> int | None:
    return number if number > 0 else None


_FIELDS: dict[int, tuple[str, Callable[[_Message], object]]] = {
    0x0A: ("trace_id", lambda message: normalise_trace_id(message.blob().hex())),
    0x12: ("parent_id", lambda message: normalise_parent_id(message.blob().hex() or "0")),
    0x1A: ("id", lambda message: normalise_span_id(message.blob().hex())),
    0x2A: ("name", lambda message: message.text().lower() or None),
    0x31: ("timestamp", lambda message: _positive(message.fixed64())),
    0x38: ("duration", lambda message: _positive(message.signed64())),
    0x42: ("local_endpoint", _read_endpoint),
    0x4A: ("remote_endpoint", _read_endpoint),
}
