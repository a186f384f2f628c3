"""Reading protobuf messages by a table of their fields; what is not in the table is passed over."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from obskit.base.protobuf import BYTES, FIXED32, FIXED64, VARINT, read_varint

_DEEPEST = 64
_MAX_LONG = 2**63 - 1
_64_BITS = 2**64 - 1


@dataclass(frozen=True)
class Field:
    """A field: its name in the result, its wire type, and what is made of its number or bytes."""

    name: str
    wire: int
    read: Callable[[Any], Any]
    schema: Schema | None = None  # of a message within
    repeated: bool = False


Schema = dict[int, Field]


def decode(data: bytes, schema: Schema, depth: int = 0) -> dict[str, Any]:
    """Return the fields of a message by name; a repeated one is a list. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError(f"messages nested deeper than {_DEEPEST}")
    found: dict[str, Any] = {}
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        value, position = _value(data, position, key & 7)
        field = schema.get(key >> 3)
        if field is None:
            continue
        if field.wire != key & 7:
            raise ValueError(f"field {field.name} has wire type {key & 7} at {position}")
        item = decode(value, field.schema, depth + 1) if field.schema is not None else field.read(value)
        if field.repeated:
            found.setdefault(field.name, []).append(item)
        else:
            found[field.name] = item
    return found


def text(name: str) -> Field:
    """Return a field that holds a string."""
    return Field(name, BYTES, lambda data: data.decode("utf-8", "replace"))


def blob(name: str) -> Field:
    """Return a field that holds bytes."""
    return Field(name, BYTES, bytes)


def hexadecimal(name: str) -> Field:
    """Return a field that holds bytes, read as hexadecimal digits."""
    return Field(name, BYTES, lambda data: data.hex())


def number(name: str) -> Field:
    """Return a field that holds a signed varint."""
    return Field(name, VARINT, lambda value: value - (1 << 64) if value > _MAX_LONG else value)


def boolean(name: str) -> Field:
    """Return a field that holds a varint, true unless 0."""
    return Field(name, VARINT, bool)


def fixed64(name: str) -> Field:
    """Return a field that holds an unsigned number of eight bytes."""
    return Field(name, FIXED64, lambda data: int.from_bytes(data, "little"))


def double(name: str) -> Field:
    """Return a field that holds a double."""
    return Field(name, FIXED64, lambda data: struct.unpack("<d", data)[0])


def message(name: str, schema: Schema) -> Field:
    """Return a field that holds a message."""
    return Field(name, BYTES, bytes, schema)


def messages(name: str, schema: Schema) -> Field:
    """Return a field that holds any number of messages."""
    return Field(name, BYTES, bytes, schema, repeated=True)


def _value(data: bytes, position: int, wire: int) -> tuple[Any, int]:
    """Return the number or the bytes that stand at a position, and the position behind."""
    if wire == VARINT:
        number, position = read_varint(data, position)
        return number & _64_BITS, position
    if wire == BYTES:
        length, position = read_varint(data, position)
    elif wire in {FIXED64, FIXED32}:
        length = 8 if wire == FIXED64 else 4
    else:
        raise ValueError(f"wire type {wire} at {position} is unknown")
    end = position + length
    if end > len(data):
        raise ValueError(f"truncated: {length} bytes wanted at {position}, of {len(data)}")
    return data[position:end], end
