"""Reading protobuf messages by a table of their fields; what is not in the table is passed over."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64
_MAX_LONG = 2**63 - 1


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
    """The fields of a message by name; a repeated one is a list. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError(f"messages nested deeper than {_DEEPEST}")
    found: dict[str, Any] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
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
    """A string."""
    return Field(name, _BYTES, lambda data: data.decode("utf-8", "replace"))


def blob(name: str) -> Field:
    """Bytes."""
    return Field(name, _BYTES, bytes)


def hexadecimal(name: str) -> Field:
    """Bytes, as their digits."""
    return Field(name, _BYTES, lambda data: data.hex())


def number(name: str) -> Field:
    """A varint."""
    return Field(name, _VARINT, lambda value: value - (1 << 64) if value > _MAX_LONG else value)


def boolean(name: str) -> Field:
    """A varint that is true unless 0."""
    return Field(name, _VARINT, bool)


def fixed64(name: str) -> Field:
    """An unsigned number of eight bytes."""
    return Field(name, _FIXED64, lambda data: int.from_bytes(data, "little"))


def double(name: str) -> Field:
    """A floating point number."""
    return Field(name, _FIXED64, lambda data: struct.unpack("<d", data)[0])


def message(name: str, schema: Schema) -> Field:
    """A message within."""
    return Field(name, _BYTES, bytes, schema)


def messages(name: str, schema: Schema) -> Field:
    """Any number of messages within."""
    return Field(name, _BYTES, bytes, schema, repeated=True)


def varint(number: int) -> bytes:
    """A number from 0 as protobuf writes it."""
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _value(data: bytes, position: int, wire: int) -> tuple[Any, int]:
    """The number or the bytes that stand at a position, and the position behind."""
    if wire == _VARINT:
        return _varint(data, position)
    if wire == _BYTES:
        length, position = _varint(data, position)
    elif wire in {_FIXED64, _FIXED32}:
        length = 8 if wire == _FIXED64 else 4
    else:
        raise ValueError(f"wire type {wire} at {position} is unknown")
    end = position + length
    if end > len(data):
        raise ValueError(f"truncated: {length} bytes wanted at {position}, of {len(data)}")
    return data[position:end], end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise ValueError(f"a number is torn or too long at {position}")
