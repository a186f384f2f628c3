"""Integers of protobuf's wire format, in which Zipkin's proto3 spans, profiles and OTLP are written.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of fields."""

_LAST = tuple(bytes([number]) for number in range(128))  # of the groups of seven bits of a number
_MORE = tuple(bytes([number | 128]) for number in range(128))  # another follows
_MOST_GROUPS = 10


def varint(number: int) -> bytes:
    """Return a non-negative integer as a varint: groups of seven bits, lowest first."""
    if number < 1 << 7:
        return _LAST[number]
    return _MORE[number & 127] + (_LAST[number >> 7] if number < 1 << 14 else varint(number >> 7))


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at ``position`` and the position behind it; ten groups may hold 70 bits. Raises ValueError."""
    number = shift = 0
    try:
        while shift < 7 * _MOST_GROUPS:
            byte = data[position]
            position += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number, position
            shift += 7
    except IndexError:
        raise ValueError(f"a number is cut off at {position}") from None
    raise ValueError(f"a number of more than {_MOST_GROUPS} bytes ends at {position}")
