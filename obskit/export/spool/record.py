"""The form of a record on disk: a batch of encoded items, and what it takes to find and check it in a damaged file.

    magic 4 | state 1 | length of the payload 4 | items 4 | written 8 | CRC of the payload 4 | CRC of these 4 | payload

Numbers are big-endian, ``written`` is in milliseconds of the epoch, the payload is a MessagePack array of binaries, and
the second checksum covers the four fields before it.
The header has a checksum of its own, so that a damaged payload costs its record only and its items are still counted.
That checksum starts from the name of the directory, which nobody can guess: no item can hold bytes that would be taken
for a record. Neither covers the state, the one byte that is overwritten when the record is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec

MAGIC = b"\xf0ob1"
STATE = len(MAGIC)
WAITING = b"\x00"
DONE = b"\xff"  # no flipped bit makes it of WAITING; any other value counts as waiting

_FIELDS = Struct(">IIQI")
_CHECKSUM = Struct(">I")
_FIELDS_AT = STATE + 1
_FIELDS_END = _FIELDS_AT + _FIELDS.size
HEADER = _FIELDS_END + _CHECKSUM.size
_CHUNK = 1 << 16
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class Header(NamedTuple):
    """What is known of a record before its payload is read."""

    length: int
    items: int
    written: int
    checksum: int
    done: bool


def pack(items: list[bytes], written: int, seed: int) -> bytes:
    """Return the record of ``items``."""
    payload = msgspec.msgpack.encode(items)
    fields = _FIELDS.pack(len(payload), len(items), written, crc32(payload))
    return b"".join((MAGIC, WAITING, fields, _CHECKSUM.pack(crc32(fields, seed)), payload))


def parse(data: bytes, seed: int) -> Header | None:
    """Return the header that ``data`` begins with, or None."""
    if len(data) < HEADER or not data.startswith(MAGIC):
        return None
    fields = data[_FIELDS_AT:_FIELDS_END]
    if data[_FIELDS_END:HEADER] != _CHECKSUM.pack(crc32(fields, seed)):
        return None
    length, items, written, checksum = _FIELDS.unpack(fields)
    return Header(length, items, written, checksum, data[STATE : STATE + 1] == DONE)


def unpack(payload: bytes, header: Header) -> list[bytes] | None:
    """Return the items in ``payload``, or None where it is not what was written."""
    if crc32(payload) != header.checksum:
        return None
    try:
        return _decode(payload)
    except msgspec.DecodeError:
        return None


def headers(file: int, start: int, end: int, seed: int) -> Iterator[tuple[int, Header]]:
    """Yield offset and header of each complete record of a file between two offsets, passing over what is none."""
    while start < end:
        header = parse(os.pread(file, HEADER, start), seed)
        if header is None:
            start = _find_magic(file, start + 1, end)
        elif start + HEADER + header.length > end:
            return
        else:
            yield start, header
            start += HEADER + header.length


def _find_magic(file: int, start: int, end: int) -> int:
    """Return the next offset where a record may begin, or ``end``."""
    while start < end:
        chunk = os.pread(file, min(_CHUNK, end - start), start)
        found = chunk.find(MAGIC)
        if found >= 0:
            return start + found
        if len(chunk) < len(MAGIC):
            break
        start += len(chunk) - len(MAGIC) + 1  # it may begin in this chunk and end in the next
    return end
