"""A file of records: written at its end, read from its beginning, removed as a whole.

A record on disk is a batch of encoded items, with a header to find and check it even in a damaged file:

    magic 4 | state 1 | length of the payload 4 | items 4 | written 8 | CRC of the payload 4 | CRC of these 4 | payload

Numbers are big-endian, ``written`` is in milliseconds of the epoch, the payload is a MessagePack array of binaries, and
the second checksum covers the four fields before it.
The header has a checksum of its own, so that a damaged payload costs its record only and its items are still counted.
That checksum starts from the name of the directory, which cannot be guessed: no item can hold bytes that would be taken
for a record. Neither covers the state, the one byte that is overwritten when the record is done.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec

from obskit.export.spool.files import CORRUPT, EXPIRED, Counters, create_file, open_file

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
    """Yield offset and header of each complete record of a file between two offsets, passing over everything else."""
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


_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(frozen=True, eq=False)
class Record:
    """A batch on disk: its encoded ``items``, and where it is."""

    items: list[bytes]
    segment: Segment = field(repr=False)
    offset: int

    @property
    def adopted(self) -> bool:
        """Whether another process wrote it."""
        return self.segment.adopted


class Segment:
    """One file in a directory that this process has locked. ``items`` of it wait; ``counters`` count what it loses."""

    def __init__(self, folder: int, name: str, seed: int, counters: Counters) -> None:
        self.name = name
        self.size = 0
        self.items = 0
        self.newest = 0  # milliseconds of the epoch
        self.gone = False
        self.adopted = False
        self._folder = folder
        self._seed = seed
        self._counters = counters
        self._file = -1
        self._position = 0  # all before it is settled
        self._settled: set[int] = set()  # offsets after it

    # Writing

    def create(self) -> None:
        """Make the file."""
        self._file = create_file(self.name, self._folder)

    def append(self, data: bytes, count: int, written: int, sync: bool) -> int:
        """Write a record of ``count`` items and return its offset; OSError where the disk does not take all of it."""
        offset = self.size
        try:
            if os.pwrite(self._file, data, offset) < len(data):
                raise OSError(errno.ENOSPC, "the disk took a part of a record only")
            if sync:
                _sync(self._file)
        except OSError:
            os.ftruncate(self._file, offset)
            raise
        self._count(offset + len(data), count, written)
        return offset

    # Reading

    def survey(self) -> None:
        """Find out what a file of another process holds; the torn end of its last write is no part of it."""
        self.adopted = True
        file = self._opened()
        length = os.fstat(file).st_size
        end = items = newest = 0
        for offset, header in headers(file, 0, length, self._seed):
            end = offset + HEADER + header.length
            newest = max(newest, header.written)
            items += 0 if header.done else header.items
        tail = os.pread(file, HEADER, end)
        torn = len(tail) < HEADER or parse(tail, self._seed) is not None
        self._count(end if torn else length, items, newest)
        self.release()

    def read(self, oldest: int) -> Record | None:
        """Return the first record that waits, or None at the end of the file. Raises OSError.

        Records written before ``oldest`` and damaged ones are counted and passed over.
        """
        file = self._opened() if self._position < self.size else -1
        for offset, header in headers(file, self._position, self.size, self._seed):
            self._pass_to(offset)
            if not header.done and offset not in self._settled:
                if header.written < oldest:
                    self.lose(EXPIRED, header.items)
                elif items := unpack(os.pread(file, header.length, offset + HEADER), header):
                    return Record(items, self, offset)
                else:
                    self.lose(CORRUPT, header.items)
                    self._counters.add(corrupt_bytes=header.length)
            self._settled.discard(offset)
            self._position = offset + HEADER + header.length
        self._pass_to(self.size)
        self.lose(CORRUPT, self.items)  # those whose headers are not there any more
        return None

    def settle(self, record: Record) -> bool:
        """Count a record as done; return False where it is not waiting any more."""
        if self.gone or record.offset < self._position or record.offset in self._settled:
            return False
        self._settled.add(record.offset)
        self.items -= len(record.items)
        self._counters.add(settled=len(record.items))
        return True

    def mark(self, record: Record) -> None:
        """Note on disk that a record is done, for a process that adopts the file. Raises OSError."""
        os.pwrite(self._opened(), DONE, record.offset + STATE)

    # Ending

    def lose(self, fate: str, count: int) -> None:
        """Count items that waited here as lost."""
        if lost := min(count, self.items):
            self.items -= lost
            self._counters.add(**{fate: lost})

    def release(self) -> None:
        """Close the file until it is used again."""
        file, self._file = self._file, -1  # cleared first: a child forked off meanwhile must not close it again
        if file >= 0:
            os.close(file)

    def remove(self) -> None:
        """Remove the file. Never raises."""
        self.gone = True
        self._counters.add(bytes=-self.size)
        self.release()
        try:
            os.unlink(self.name, dir_fd=self._folder)
        except OSError:
            pass

    def _count(self, size: int, items: int, newest: int) -> None:
        self._counters.add(taken=items, bytes=size - self.size)
        self.size = size
        self.items += items
        self.newest = max(self.newest, newest)

    def _pass_to(self, offset: int) -> None:
        """Go on at ``offset``; what lies before it cannot be read."""
        if offset > self._position:
            self._counters.add(corrupt_bytes=offset - self._position)
            self._position = offset

    def _opened(self) -> int:
        if self._file < 0:
            self._file = open_file(self.name, self._folder)
        return self._file
