"""The directory of one process, which belongs to the process that holds its lock, and the folder of all of them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import urandom
from pathlib import Path
from zlib import crc32

from obskit.export.spool.files import Counters, open_folder, open_private, try_lock
from obskit.export.spool.segment import Segment

_DIRECTORY = re.compile(r"\d+-[0-9a-f]{16}", re.ASCII)
_SEGMENT = re.compile(r"\d{16}\.seg", re.ASCII)
_TRIES = 10


class Place:
    """The folder in which all processes of this user keep undelivered batches of one destination."""

    def __init__(self, folder: Path, destination: str) -> None:
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", destination)[:48]
        digest = hashlib.sha256(destination.encode(errors="surrogatepass")).hexdigest()[:12]
        self._folder = folder
        self._key = f"{readable}-{digest}"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Give a descriptor for the block only, so that it is never stale nor shared with a fork. Raises OSError."""
        with self._folder_opened() as folder:
            place = open_private(self._name, folder)
        try:
            yield place
        finally:
            os.close(place)

    def create(self) -> None:
        """Make the folders that are missing. Raises OSError."""
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        with self._folder_opened() as folder:
            try:
                os.mkdir(self._name, 0o700, dir_fd=folder)
            except FileExistsError:
                pass

    def sync(self) -> None:
        """Bring the names of new folders to the disk. Raises OSError."""
        with self.opened() as place, self._folder_opened() as folder:
            os.fsync(place)
            os.fsync(folder)

    @contextmanager
    def _folder_opened(self) -> Iterator[int]:
        folder = open_folder(str(self._folder))
        try:
            yield folder
        finally:
            os.close(folder)

    @property
    def _name(self) -> str:
        return f"{self._key}-{os.geteuid()}"  # users that share a folder do not get in each other's way


class Directory:
    """A directory of segments, oldest first, that this process has locked.

    The lock is ``flock``'s: the kernel drops it when the process ends, however it ends, and two objects in one process
    exclude each other, as POSIX locks do not. A forked child has it too until it closes the descriptor.
    """

    def __init__(self, name: str, descriptor: int, counters: Counters) -> None:
        self.name = name
        self.seed = crc32(name.encode())
        self.segments: list[Segment] = []
        self._descriptor = descriptor
        self._counters = counters
        self._last = 0

    def add_segment(self) -> Segment:
        """Make a new segment; its name is its age in all directories, and its order in this one. Raises OSError."""
        self._last = max(self._last + 1, int(time.time() * 1e6))
        segment = self._segment(f"{self._last:016d}.seg")
        segment.create()
        self.segments.append(segment)
        return segment

    def load(self) -> None:
        """Find the segments that another process left; those that cannot be opened are left alone."""
        for name in segment_names(self._descriptor):
            segment = self._segment(name)
            try:
                segment.survey()
            except OSError:
                continue
            self.segments.append(segment)

    def drop(self, segment: Segment) -> None:
        """Remove a segment. Never raises."""
        self.segments.remove(segment)
        segment.remove()

    def missing(self) -> list[Segment]:
        """Return the segments whose files are gone."""
        try:
            present = segment_names(self._descriptor)
        except FileNotFoundError:  # the directory itself
            present = []
        return [segment for segment in self.segments if segment.name not in present]

    def sync(self) -> None:
        """Bring the names of new files to the disk. Raises OSError."""
        os.fsync(self._descriptor)

    def remove(self, place: int) -> None:
        """Remove the directory where it is empty, and let go of it. Never raises."""
        try:
            os.rmdir(self.name, dir_fd=place)
        except OSError:
            pass
        self.release()

    def release(self) -> None:
        """Let go of the lock and of all segments, which stay on disk."""
        for segment in self.segments:
            segment.gone = True
            segment.release()
        self.segments = []
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _segment(self, name: str) -> Segment:
        return Segment(self._descriptor, name, self.seed, self._counters)


def create_directory(place: int, counters: Counters) -> Directory:
    """Make a directory of this process's own. Raises OSError."""
    for _ in range(_TRIES):
        name = f"{os.getpid()}-{urandom(8).hex()}"
        os.mkdir(name, 0o700, dir_fd=place)
        try:
            if directory := lock_directory(place, name, counters):
                return directory
        except OSError:
            os.rmdir(name, dir_fd=place)
            raise
    raise OSError(errno.EBUSY, "each new directory was taken by another process")


def lock_directory(place: int, name: str, counters: Counters) -> Directory | None:
    """Return a directory, or None where another process holds it, or has just removed it. Raises OSError."""
    try:
        descriptor = open_private(name, place)
    except FileNotFoundError:
        return None
    try:
        if try_lock(descriptor) and _is_called(descriptor, place, name):
            return Directory(name, os.dup(descriptor), counters)
        return None
    finally:
        os.close(descriptor)


def _is_called(directory: int, place: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(directory), os.stat(name, dir_fd=place, follow_symlinks=False))
    except FileNotFoundError:
        return False


def directory_names(place: int) -> list[str]:
    """Return the names of the directories of all processes, in no order. Raises OSError."""
    return [name for name in os.listdir(place) if _DIRECTORY.fullmatch(name)]


def segment_names(directory: int) -> list[str]:
    """Return the names of the segments in a directory, oldest first. Raises OSError."""
    return sorted(name for name in os.listdir(directory) if _SEGMENT.fullmatch(name))
