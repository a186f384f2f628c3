"""The directories that this process has locked: its own, and those that it adopted from ended processes."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from obskit.export.spool.directory import Directory, Place, create_directory, directory_names, lock_directory
from obskit.export.spool.eviction import File, remove_file
from obskit.export.spool.files import CORRUPT, EVICTED, EXPIRED, Counters
from obskit.export.spool.segment import Record, Segment

_ADOPTED_AT_ONCE = 8  # each takes a file descriptor


class LockedDirectories:
    """All segments that this process reads, and the one it writes. Every removed item is counted."""

    def __init__(self, place: Place) -> None:
        self.own = Counters()
        self.others = Counters()
        self.open: Segment | None = None
        self._place = place
        self._directory: Directory | None = None
        self._adopted: list[Directory] = []

    def directory(self) -> Directory:
        """Return this process's own directory, made if there is none. Raises OSError."""
        if self._directory is None:
            self._place.create()
            with self._place.opened() as place:
                self._directory = create_directory(place, self.own)
        return self._directory

    def directories(self) -> list[Directory]:
        """Return all that are held; what others left comes first."""
        return [*self._adopted, self._directory] if self._directory else list(self._adopted)

    def names(self) -> set[str]:
        """Return the names of the directories."""
        return {directory.name for directory in self.directories()}

    # Reading

    def first(self, oldest: int) -> Record | None:
        """Return the first record that waits and was not written before ``oldest``. Raises OSError."""
        for segment in list(self._segments()):
            if record := self.read(segment, oldest):
                return record
        return None

    def read(self, segment: Segment, oldest: int) -> Record | None:
        """Return the first record of a segment; remove a segment without any. Raises OSError."""
        try:
            record = segment.read(oldest)
        except FileNotFoundError:
            self.lose(segment, EVICTED)
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.lose(segment, CORRUPT)
            return None
        if record is None and segment is not self.open:
            self.drop(segment)
        return record

    # Losing

    def finish(self) -> None:
        """Close the segment that is written to, and remove it if all of it is settled."""
        segment, self.open = self.open, None
        if segment is not None:
            segment.release()
            if not segment.items:
                self.drop(segment)

    def review(self, oldest: int) -> None:
        """Count what other processes evicted from here, and lose closed segments of before ``oldest``."""
        for directory in self.directories():
            for segment in directory.missing():
                self.lose(segment, EVICTED)
            for segment in list(directory.segments):
                if segment.newest < oldest and segment is not self.open:
                    self.lose(segment, EXPIRED)

    def evict(self, place: int, file: File) -> None:
        """Remove a segment. The process that holds its directory counts it; where none does, this one adopts it."""
        if file.directory not in self.names() and not self._take(place, file.directory):
            remove_file(place, file)
        for directory in self.directories():
            for segment in list(directory.segments):
                if (segment.name, directory.name) == (file.name, file.directory):
                    self.lose(segment, EVICTED)

    def lose(self, segment: Segment, fate: str) -> None:
        """Remove a segment and count what waits in it."""
        if segment is self.open:
            self.open = None
        segment.lose(fate, segment.items)
        self.drop(segment)

    def drop(self, segment: Segment) -> None:
        """Remove a segment, and an adopted directory with its last one. Never raises."""
        for directory in self.directories():
            if segment in directory.segments:
                directory.drop(segment)
                self._remove_empty(directory)

    # Taking over, letting go

    def adopt(self, place: int) -> None:
        """Take over some of the directories that no process holds. Raises OSError."""
        for name in set(directory_names(place)) - self.names():
            if len(self._adopted) >= _ADOPTED_AT_ONCE:
                break
            self._take(place, name)

    def _take(self, place: int, name: str) -> bool:
        """Adopt a directory, unless a process holds it; remove it again if nothing waits in it."""
        try:
            directory = lock_directory(place, name, self.others)
        except OSError:  # another user's, or open to others, or no directory
            return False
        if directory is None:
            return False
        directory.load()
        self._adopted.append(directory)
        for segment in list(directory.segments):
            if not segment.items:
                self.read(segment, 0)
        self._remove_empty(directory)
        return True

    def _remove_empty(self, directory: Directory) -> None:
        """Remove an adopted directory without segments; this process may still need its own."""
        if not directory.segments and directory in self._adopted:
            self._adopted.remove(directory)
            self._remove(directory)

    def _remove(self, directory: Directory) -> None:
        try:
            with self._place.opened() as place:
                directory.remove(place)
        except OSError:
            directory.release()

    def forsake(self) -> None:
        """Release this process's own directory, and remove it if it is empty."""
        directory, self._directory = self._directory, None
        if directory is not None and directory.segments:
            directory.release()
        elif directory is not None:
            self._remove(directory)

    def let_go(self) -> None:
        """Close all files and release all locks; waiting batches are left to the next process that adopts them."""
        for directory in self.directories():
            directory.release()

    def _segments(self) -> Iterator[Segment]:
        for directory in self.directories():
            yield from directory.segments
