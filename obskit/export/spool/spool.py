"""A spool of one destination, as one process uses it: append, read, acknowledge, adopt batches of ended processes."""

from __future__ import annotations

import errno
import logging
import time
import weakref
from pathlib import Path

from obskit.base.failures import tell
from obskit.base.process import check_fork, on_fork
from obskit.export.spool.directory import Directory, Place
from obskit.export.spool.eviction import alone, check_free, files_in
from obskit.export.spool.files import SpoolCounts
from obskit.export.spool.locked_directories import LockedDirectories
from obskit.export.spool.segment import Record, Segment, pack

_SEGMENT_BYTES = 1 << 20
_PARTS = 8  # of a small spool, so that making room costs a part of it only
_TRY_AGAIN = 1.0


class Spool:
    """Holds encoded batches on disk until they are acknowledged, at most ``max_bytes`` of all processes together.

    A batch survives the end of the process, however it ends, once ``append`` has returned; the loss of power only
    with ``sync``. Batches older than ``max_age`` seconds, and the oldest if space is needed, are lost and counted.
    Nothing is on disk before the first append. Disk errors are logged in one warning and never raised.

    For one thread; ``own``, ``adopted`` and ``refused`` may be read from any.
    """

    def __init__(self, folder: Path, destination: str, max_bytes: int, max_age: float, sync: bool = False) -> None:
        self._folder = folder
        self._place = Place(folder, destination)
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._sync = sync
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // _PARTS)
        self._start()
        _spools.add(self)

    def _start(self) -> None:
        self._held = LockedDirectories(self._place)
        self._try_again = 0.0
        self._troubled = False
        self.refused = 0
        """The number of items that were not taken."""

    @property
    def own(self) -> SpoolCounts:
        """What became of the items that this process appended."""
        return self._held.own.counts

    @property
    def adopted(self) -> SpoolCounts:
        """What became of the items that other processes left and this one took over."""
        return self._held.others.counts

    def append(self, items: list[bytes]) -> Record | None:
        """Store a batch of at least one item and return its record.

        Returns None where the disk refuses it, or refused another within the last second, or where the batch alone
        takes more than half of ``max_bytes``.
        """
        check_fork()
        record = None
        if time.monotonic() >= self._try_again:
            try:
                record = self._append(items)
            except OSError as error:
                self._append_failed(error)
        if record is None:
            self.refused += len(items)
        return record

    def next(self) -> Record | None:
        """Return the oldest batch of a directory that is not acknowledged; the same again until it is.

        What other processes left comes first.
        """
        check_fork()
        try:
            return self._held.first(self._oldest())
        except OSError as error:
            self._note_trouble(error)
            return None

    def acknowledge(self, record: Record) -> bool:
        """Note for good that a batch is done: delivered, or refused by the receiver.

        Returns False, and counts nothing, where its items have been counted as lost meanwhile, or as settled.
        """
        check_fork()
        segment = record.segment
        if not segment.settle(record):
            return False
        if segment.items or segment is self._held.open:
            self._mark(segment, record)
        elif segment.adopted:
            self._finish(segment, record)
        else:
            self._held.drop(segment)
        return True

    def adopt(self) -> int:
        """Take over what processes left that are gone, a few at a time; return the number of items."""
        check_fork()
        before = self.adopted.taken
        try:
            with self._place.opened() as place:
                self._held.review(self._oldest())
                self._held.adopt(place)
        except FileNotFoundError:  # nothing has been appended yet
            pass
        except OSError as error:
            self._note_trouble(error)
        return self.adopted.taken - before

    def close(self) -> None:
        """Let go of everything; what is not acknowledged is left to the next process that adopts it."""
        check_fork()
        self._review()
        self._held.finish()
        self._held.forsake()
        self._held.let_go()

    def _append(self, items: list[bytes]) -> Record | None:
        directory = self._held.directory()
        written = _now()
        data = pack(items, written, directory.seed)
        if len(data) > self._max_bytes // 2:
            return None
        segment = self._held.open
        if segment is None or segment.size + len(data) > self._segment_bytes:
            segment = self._rotate(directory, len(data))
        offset = segment.append(data, len(items), written, self._sync)
        self._note_recovery()
        return Record(items, segment, offset)

    def _rotate(self, directory: Directory, size: int) -> Segment:
        """Go on in a new segment with room for ``size`` bytes at least."""
        self._held.finish()
        self._held.review(self._oldest())
        self._make_room(max(size, self._segment_bytes))
        segment = self._held.open = directory.add_segment()
        if self._sync:
            directory.sync()
            self._place.sync()
        return segment

    def _make_room(self, size: int) -> None:
        """Remove the oldest segments of all processes until there is room for one more."""
        with self._place.opened() as place, alone(place):
            files = files_in(place, self._held.names(), self._segment_bytes)
            excess = sum(file.size for file in files) + size - self._max_bytes
            closed = [file for file in files if file.closed]
            if sum(file.size for file in closed) < excess:
                raise OSError(errno.EDQUOT, f"other processes are using its {self._max_bytes} bytes")
            for file in closed:
                if excess > 0:
                    self._held.evict(place, file)
                    excess -= file.size
            check_free(place, size)

    def _append_failed(self, error: OSError) -> None:
        self._try_again = time.monotonic() + _TRY_AGAIN
        self._note_trouble(error)
        self._held.finish()
        if isinstance(error, FileNotFoundError):  # the directory was removed
            self._review()
            self._held.forsake()

    def _finish(self, segment: Segment, record: Record) -> None:
        """Finish an adopted segment: count what is unreadable at its end, then remove it."""
        self._mark(segment, record)
        try:
            self._held.read(segment, 0)
        except OSError as error:
            self._note_trouble(error)

    def _mark(self, segment: Segment, record: Record) -> None:
        try:
            segment.mark(record)
        except OSError as error:  # this process remembers; another may deliver the batch again
            self._note_trouble(error)
        if segment is not self._held.open:
            segment.release()

    def _review(self) -> None:
        try:
            self._held.review(self._oldest())
        except OSError as error:
            self._note_trouble(error)

    def _oldest(self) -> int:
        """Return when a record that is just young enough was written."""
        return _now() - int(self._max_age * 1000)

    def _note_trouble(self, error: OSError) -> None:
        if not self._troubled:
            self._troubled = True
            message = "the spool in %s cannot be used now (%s); what is not delivered waits in memory only"
            tell(logging.WARNING, message, self._folder, error)

    def _note_recovery(self) -> None:
        if self._troubled:
            self._troubled = False
            tell(logging.INFO, "the spool in %s can be used again", self._folder)

    def after_fork(self) -> None:
        """Start empty, as a forked child must: the files and their locks are the parent's."""
        self._held.let_go()
        self._start()


def _now() -> int:
    return int(time.time() * 1000)


def _after_fork() -> None:
    for spool in list(_spools):
        spool.after_fork()


_spools: weakref.WeakSet[Spool] = weakref.WeakSet()
on_fork(_after_fork)
