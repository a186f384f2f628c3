"""The total size of a destination's spool over all processes, and which segments may be evicted."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from obskit.export.spool.directory import directory_names, segment_names
from obskit.export.spool.files import open_private, try_lock

_BLOCK = 4096  # an almost empty file takes as much; and the number of files is bounded, too
_RESERVE = 64 << 20
_LONGEST_WAIT = 0.1
_POLL = 0.002


class File(NamedTuple):
    """A segment of some process: the bytes it takes, or may come to take, and whether it is written no more."""

    name: str
    directory: str
    size: int
    closed: bool


@contextmanager
def alone(place: int) -> Iterator[None]:
    """Hold the lock under which room is made. Raises OSError where another process keeps it for long."""
    end = time.monotonic() + _LONGEST_WAIT
    while not try_lock(place):
        if time.monotonic() > end:
            raise OSError(errno.EBUSY, "another process is making room")
        time.sleep(_POLL)
    yield  # who opened the place closes it, and so drops the lock


def files_in(place: int, held: Container[str], growth: int) -> list[File]:
    """Return the segments of all processes, oldest first; those in directories that are ``held`` are all closed.

    The last segment of another process that lives may grow up to ``growth`` bytes. Raises OSError.
    """
    files = [file for name in directory_names(place) for file in _files(place, name, name in held, growth)]
    return sorted(files)


def check_free(place: int, size: int) -> None:
    """Raise OSError where ``size`` bytes more would leave the disk almost full: the application needs it, too."""
    disk = os.statvfs(place)
    reserve = min(_RESERVE, disk.f_blocks * disk.f_frsize // 20)
    free = disk.f_bavail * disk.f_frsize
    if free - size < reserve:
        raise OSError(errno.ENOSPC, f"only {free} bytes are free, of which {reserve} are left for others")


def remove_file(place: int, file: File) -> None:
    """Remove a closed segment of another process, which counts it. Never raises."""
    try:
        directory = open_private(file.directory, place)
    except OSError:
        return
    try:
        os.unlink(file.name, dir_fd=directory)
    except OSError:
        pass
    finally:
        os.close(directory)


def _files(place: int, name: str, held: bool, growth: int) -> list[File]:
    try:
        directory = open_private(name, place)
    except OSError:  # not ours, or just removed
        return []
    try:
        closed = held or try_lock(directory)
        files = [File(segment, name, _size(segment, directory), True) for segment in segment_names(directory)]
    except OSError:
        return []
    finally:
        os.close(directory)
    if files and not closed:
        files[-1] = files[-1]._replace(size=max(files[-1].size, growth), closed=False)
    return files


def _size(segment: str, directory: int) -> int:
    try:
        status = os.stat(segment, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return max(status.st_size, _BLOCK) if stat.S_ISREG(status.st_mode) else 0
