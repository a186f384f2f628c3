"""A file of records: written at its end, read from its beginning, removed as a whole."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from obskit.export.spool.counts import CORRUPT, EXPIRED, Account
from obskit.export.spool.files import create_file, open_file
from obskit.export.spool.record import DONE, HEADER, STATE, headers, parse, unpack

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
    """One file in a directory that this process has locked. ``items`` of it wait; what it loses, ``account`` counts."""

    def __init__(self, folder: int, name: str, seed: int, account: Account) -> None:
        self.name = name
        self.size = 0
        self.items = 0
        self.newest = 0  # milliseconds of the epoch
        self.gone = False
        self.adopted = False
        self._folder = folder
        self._seed = seed
        self._account = account
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
                    self._account.add(corrupt_bytes=header.length)
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
        self._account.add(settled=len(record.items))
        return True

    def mark(self, record: Record) -> None:
        """Note on disk that a record is done, for whoever adopts the file. Raises OSError."""
        os.pwrite(self._opened(), DONE, record.offset + STATE)

    # Ending

    def lose(self, fate: str, count: int) -> None:
        """Count items that waited here as lost."""
        if lost := min(count, self.items):
            self.items -= lost
            self._account.add(**{fate: lost})

    def release(self) -> None:
        """Close the file until it is used again."""
        file, self._file = self._file, -1  # first forgotten: a child forked off meanwhile must not close it again
        if file >= 0:
            os.close(file)

    def remove(self) -> None:
        """Remove the file. Never raises."""
        self.gone = True
        self._account.add(bytes=-self.size)
        self.release()
        try:
            os.unlink(self.name, dir_fd=self._folder)
        except OSError:
            pass

    def _count(self, size: int, items: int, newest: int) -> None:
        self._account.add(taken=items, bytes=size - self.size)
        self.size = size
        self.items += items
        self.newest = max(self.newest, newest)

    def _pass_to(self, offset: int) -> None:
        """Go on at ``offset``; what lies before it cannot be read."""
        if offset > self._position:
            self._account.add(corrupt_bytes=offset - self._position)
            self._position = offset

    def _opened(self) -> int:
        if self._file < 0:
            self._file = open_file(self.name, self._folder)
        return self._file
