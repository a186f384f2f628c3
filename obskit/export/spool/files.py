"""Files and folders that only this user can read, and the counters of a spool.

Symbolic links and other users' files are refused. taken = settled + evicted + expired + corrupt + waiting, exactly.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import NamedTuple

EVICTED = "evicted"
EXPIRED = "expired"
CORRUPT = "corrupt"


class SpoolCounts(NamedTuple):
    """Counters of one moment: items, where not said otherwise.

    ``taken`` were appended, or adopted; ``settled`` were acknowledged. ``evicted`` went to make room, in this process
    or another, or their file was removed. ``corrupt_bytes`` could not be read; the items in them are part of
    ``corrupt`` as far as their number is known: always where this process wrote them. ``bytes`` are held on disk.
    """

    taken: int = 0
    settled: int = 0
    evicted: int = 0
    expired: int = 0
    corrupt: int = 0
    corrupt_bytes: int = 0
    bytes: int = 0

    @property
    def waiting(self) -> int:
        """The number of items that wait on disk."""
        return self.taken - self.settled - self.evicted - self.expired - self.corrupt


class Counters:
    """Holds ``counts``; one thread changes them, and any may read them: they are replaced as a whole."""

    def __init__(self) -> None:
        self.counts = SpoolCounts()

    def add(self, **changes: int) -> None:
        """Add to each counter that is named."""
        counts = self.counts
        self.counts = counts._replace(**{name: getattr(counts, name) + by for name, by in changes.items()})


_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # the last, lest a pipe with a file's name blocks


def open_folder(path: str, parent: int | None = None) -> int:
    """Return a descriptor of a folder; OSError where it is a symbolic link, or no folder."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE, dir_fd=parent)


def open_private(name: str, parent: int) -> int:
    """Return a descriptor of a folder that only this user can look into; PermissionError where others can, too."""
    folder = open_folder(name, parent)
    try:
        status = os.fstat(folder)
        _check_owner(status, name)
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise PermissionError(errno.EPERM, f"its mode is {mode:o} and must be 700, or others may change it", name)
    except OSError:
        os.close(folder)
        raise
    return folder


def create_file(name: str, folder: int) -> int:
    """Return a descriptor of a new file; OSError where there is one already."""
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=folder)


def open_file(name: str, folder: int) -> int:
    """Return a descriptor of a file; PermissionError where it is another user's."""
    file = os.open(name, os.O_RDWR | _SAFE, dir_fd=folder)
    try:
        _check_owner(os.fstat(file), name)
    except OSError:
        os.close(file)
        raise
    return file


def try_lock(descriptor: int) -> bool:
    """Take a lock that lasts until every copy of ``descriptor`` is closed; return whether it was free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_owner(status: os.stat_result, name: str) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it belongs to user {status.st_uid}, not to {os.geteuid()}", name)
