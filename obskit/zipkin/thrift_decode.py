"""Decodes Zipkin v1 thrift (TBinaryProtocol), which old reporters send to ``/api/v1/spans`` and to Kafka.

Source: ``zipkinCore.thrift`` (openzipkin/zipkin-api) and ``zipkin2.v1.ThriftCodec`` (openzipkin/zipkin 3.6.1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from obskit.zipkin.addresses import write_ipv6
from obskit.zipkin.decoding import DecodeError, TooLarge, check_number
from obskit.zipkin.ids import normalise_parent_id, normalise_span_id, normalise_trace_id, trace_key
from obskit.zipkin.model import Endpoint, Span
from obskit.zipkin.v1 import ADDRESSES, Event, Fact, V1Span, convert

_BOOL, _BYTE, _DOUBLE, _I16, _I32, _I64 = 2, 3, 4, 6, 8, 10
_STRING, _STRUCT, _MAP, _SET, _LIST = 11, 12, 13, 14, 15
_SIZES = {_BOOL: 1, _BYTE: 1, _I16: 2, _DOUBLE: 8, _I32: 4, _I64: 8}
_IS_BOOL, _IS_STRING = 0, 6  # types of a binary annotation
_DEEPEST = 64


def decode_list(body: bytes) -> list[Span]:
    """Return the spans of a thrift list in the v2 model. Raises DecodeError: one bad span refuses the whole list."""
    data = _Data(body)
    spans: list[Span] = []
    try:
        for number in range(1, data.list_size() + 1):
            check_number(number)
            spans += convert(_read_span(data))
    except TooLarge:
        raise
    except ValueError as error:
        raise DecodeError(f"after {len(spans)} spans: {error}") from None
    return spans


class _Data:
    """The bytes of a message and the read position. All methods raise ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, length: int) -> bytes:
        start = self._position
        if not 0 <= length <= len(self._data) - start:
            raise ValueError(f"truncated: {length} bytes wanted at {start}, of {len(self._data)}")
        self._position += length
        return self._data[start : self._position]

    def number(self, kind: int) -> int:
        """Return a number of a wire type, a double as the integer of its bits."""
        return int.from_bytes(self.take(_SIZES[kind]), "big", signed=True)

    def blob(self) -> bytes:
        return self.take(self.number(_I32))

    def text(self) -> str:
        return self.blob().decode("utf-8", "replace")

    def list_size(self) -> int:
        """Return the number of items of a list of structs."""
        kind, size = self.number(_BYTE), self.number(_I32)
        if kind != _STRUCT or size < 0:
            raise ValueError(f"a list of {size} items of type {kind}, where structs are expected")
        return size

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and type of each field of a struct; the caller must read or skip each."""
        while kind := self.number(_BYTE):
            yield self.number(_I16), kind

    def skip(self, kind: int, depth: int = 0) -> None:
        """Skip a value."""
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if kind in _SIZES:
            self.take(_SIZES[kind])
        elif kind == _STRING:
            self.blob()
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in {_MAP, _SET, _LIST}:
            kinds = [self.number(_BYTE) for _ in range(2 if kind == _MAP else 1)]
            for _ in range(self.number(_I32)):
                for inner in kinds:
                    self.skip(inner, depth + 1)
        else:
            raise ValueError(f"type {kind} is unknown")


def _read(data: _Data, readers: dict[tuple[int, int], tuple[str, Callable[[_Data], Any]]]) -> dict[str, Any]:
    """Return the known fields of a struct."""
    found: dict[str, Any] = {}
    for field in data.fields():
        if field in readers:
            name, read = readers[field]
            found[name] = read(data)
        else:
            data.skip(field[1])
    return found


def _read_span(data: _Data) -> V1Span:
    fields = _read(data, _SPAN)
    missing = [name for name in ("trace_id", "id") if name not in fields]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}")
    high, low = fields.pop("trace_id_high", "0" * 16), fields["trace_id"]
    fields["trace_id"] = trace_key(normalise_trace_id(high + low))
    fields["id"] = normalise_span_id(fields["id"])
    fields["parent_id"] = normalise_parent_id(fields.get("parent_id", "0"))
    return V1Span(**fields)


def _hex(data: _Data) -> str:
    return data.take(8).hex()


def _events(data: _Data) -> list[Event]:
    found = [_read(data, _EVENT) for _ in range(data.list_size())]
    return [
        Event(fields["timestamp"], fields["value"], fields.get("endpoint"))
        for fields in found
        if fields.get("timestamp") and "value" in fields
    ]


def _facts(data: _Data) -> list[Fact]:
    found = [_read(data, _FACT) for _ in range(data.list_size())]
    return [fact for fields in found if {"key", "value"} <= fields.keys() for fact in _fact(fields)]


def _fact(fields: dict[str, Any]) -> Iterator[Fact]:
    """Read a binary annotation: strings are tags, true is an address; other types are skipped, as in the reference."""
    key, endpoint, kind = fields["key"], fields.get("endpoint"), fields.get("kind", _IS_BOOL)
    if kind == _IS_STRING:
        yield Fact(key, fields["value"].decode("utf-8", "replace"), endpoint)
    elif kind == _IS_BOOL and fields["value"] == b"\1" and endpoint is not None and key in ADDRESSES:
        yield Fact(key, "", endpoint)


def _endpoint(data: _Data) -> Endpoint | None:
    fields = _read(data, _ENDPOINT)
    port = fields.get("port", 0) & 0xFFFF  # the wire has a signed number of 16 bits
    endpoint = Endpoint(
        service_name=fields.get("service_name", "").lower() or None,
        ipv4=".".join(map(str, ipv4)) if any(ipv4 := fields.get("ipv4", b"")) else None,
        ipv6=write_ipv6(list(struct.unpack(">8H", ipv6))) if len(ipv6 := fields.get("ipv6", b"")) == 16 else None,
        port=port or None,
    )
    return endpoint if endpoint != Endpoint() else None


_ENDPOINT: dict[tuple[int, int], tuple[str, Callable[[_Data], Any]]] = {
    (1, _I32): ("ipv4", lambda data: data.take(4)),
    (2, _I16): ("port", lambda data: data.number(_I16)),
    (3, _STRING): ("service_name", _Data.text),
    (4, _STRING): ("ipv6", _Data.blob),
}
_EVENT: dict[tuple[int, int], tuple[str, Callable[[_Data], Any]]] = {
    (1, _I64): ("timestamp", lambda data: data.number(_I64)),
    (2, _STRING): ("value", _Data.text),
    (3, _STRUCT): ("endpoint", _endpoint),
}
_FACT: dict[tuple[int, int], tuple[str, Callable[[_Data], Any]]] = {
    (1, _STRING): ("key", _Data.text),
    (2, _STRING): ("value", _Data.blob),
    (3, _I32): ("kind", lambda data: data.number(_I32)),
    (4, _STRUCT): ("endpoint", _endpoint),
}
_SPAN: dict[tuple[int, int], tuple[str, Callable[[_Data], Any]]] = {
    (1, _I64): ("trace_id", _hex),
    (3, _STRING): ("name", lambda data: data.text().lower() or None),
    (4, _I64): ("id", _hex),
    (5, _I64): ("parent_id", _hex),
    (6, _LIST): ("events", _events),
    (8, _LIST): ("facts", _facts),
    (9, _BOOL): ("debug", lambda data: bool(data.number(_BOOL))),
    (10, _I64): ("timestamp", lambda data: data.number(_I64)),
    (11, _I64): ("duration", lambda data: data.number(_I64)),
    (12, _I64): ("trace_id_high", _hex),
}
