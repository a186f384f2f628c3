"""Where profiles go, and when they are taken: some seconds of each interval, and at once on request.

Each ``Output`` says when to sample, and delivers the profiles. Files in a folder are named
``SERVICE-TYPE-TIME.PID.pprof.gz``, such as ``orders-cpu-20260131T120000.000Z.4711.pprof.gz``. Only the user of the
process can read them, as they show functions, paths and routes of the program.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple, Protocol
from urllib.parse import quote

from obskit.base.chance import between
from obskit.base.failures import tell
from obskit.base.native_threads import allocate_lock


class Assignment(NamedTuple):
    """One profile to take: its type (``CPU``, ``WALL`` or ``HEAP``) and its duration in seconds.

    ``also`` names further types to make from the same samples; each is delivered as an assignment of its own.
    """

    profile_type: str
    duration: float
    also: tuple[str, ...] = ()


class Stop:
    """A flag that tells the profiler's thread to end. Its lock is native: under gevent, greenlets run during waits."""

    def __init__(self) -> None:
        self.asked = False
        self._lock = allocate_lock()
        self._lock.acquire()

    def ask(self) -> None:
        """Set the flag: ``wait`` returns at once from now on."""
        if not self.asked:
            self.asked = True
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, or until the flag is set; return whether it is."""
        if not self.asked and seconds > 0 and self._lock.acquire(timeout=min(seconds, 3600.0)):
            self._lock.release()  # so that this thread, the only one that waits, can do so again
        return self.asked


class Output(Protocol):
    """Where profiles go. Called on the profiler's thread; the profiler counts exceptions.

    After a fork the child uses its copy.
    """

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Block until a profile is wanted and return it; None if there is none yet, or ``stop`` is set."""

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Deliver a gzip-compressed pprof; return whether it has arrived."""


SUFFIX = ".pprof.gz"
_MOST_FILES = 1000
_LOOK_FOR_REQUESTS = 1.0
_LONGEST_REQUEST = 600.0  # seconds
_OURS = re.compile(r"\..+\.(part|request)|.+\.pprof\.gz")
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # the last flag keeps a pipe with that name from blocking


def request_file(folder: str, pid: int) -> str:
    """Return the path of the file that requests a profile of process ``pid``; its content is the seconds."""
    return os.path.join(folder, f".{pid}.request")


class Schedule:
    """The schedule: ``duration`` of every ``interval`` seconds, with a random offset for each process.

    Profiles of all ``types`` are made from the same samples.
    """

    def __init__(self, types: tuple[str, ...], duration: float, interval: float) -> None:
        self._types = types
        self._duration = duration
        self._interval = interval
        self._due = 0.0
        self._pid = 0

    def wait(self, stop: Stop, asked: Callable[[], float] = lambda: 0.0) -> Assignment | None:
        """Wait until the next profile is due, or ``asked()``, polled every second, returns a duration in seconds."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._due = monotonic() + between(0.0, self._interval - self._duration)
        while (left := self._due - monotonic()) > 0:
            if stop.wait(min(left, _LOOK_FOR_REQUESTS)):
                return None
            seconds = asked()
            if seconds:
                return Assignment(self._types[0], seconds, self._types[1:])
        self._due = max(self._due + self._interval, monotonic())
        return Assignment(self._types[0], self._duration, self._types[1:])


class FolderOutput:
    """Writes profiles to ``folder``, which is created. The newest thousand files of a service are kept."""

    def __init__(self, folder: str, service: str, schedule: Schedule) -> None:
        self._folder = folder
        self._service = re.sub(r"[^\w.-]+", "_", service)
        self._schedule = schedule

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Wait until the next profile is due, or requested."""
        return self._schedule.wait(stop, self._requested)

    def _requested(self) -> float:
        """Return how many seconds a request file asks for, and remove it; 0 if there is none."""
        path = request_file(self._folder, os.getpid())
        try:
            seconds = float(_read_own(path, 20))
            os.unlink(path)
        except (OSError, ValueError):
            return 0.0
        return min(max(seconds, 0.1), _LONGEST_REQUEST) if seconds == seconds else 0.0  # noqa: PLR0124 - true for NaN

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Write a profile atomically: readers of the folder never see a partial file. Raises OSError."""
        make_private(self._folder)
        prefix = f"{self._service}-{assignment.profile_type.lower()}-"
        name = f"{prefix}{_now()}.{os.getpid()}{SUFFIX}"
        temporary = os.path.join(self._folder, f".{name}.part")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600), "wb") as file:
                file.write(profile)
            os.replace(temporary, os.path.join(self._folder, name))
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
        self._remove_old(prefix)
        return True

    def _remove_old(self, prefix: str) -> None:
        names = sorted(n for n in os.listdir(self._folder) if n.startswith(prefix) and n.endswith(SUFFIX))
        for name in names[:-_MOST_FILES]:
            with suppress(FileNotFoundError):  # another process of the service has removed it
                os.unlink(os.path.join(self._folder, name))


def make_private(folder: str) -> None:
    """Create a folder that only this user can read.

    An existing one is made private if it is this user's and contains only profiles: the mode of any other (a home,
    ``/tmp``, a volume) must not change, and the files are private in any case. Raises OSError.
    """
    os.makedirs(folder, 0o700, exist_ok=True)
    status = os.stat(folder)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid() and all(map(_OURS.fullmatch, os.listdir(folder))):
        os.chmod(folder, 0o700)


def _read_own(path: str, size: int) -> bytes:
    """Return the beginning of a file of this user or root. Raises OSError for any other kind of file. Never blocks."""
    file = os.open(path, os.O_RDONLY | _SAFE)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in {0, os.geteuid()}:
            raise PermissionError(f"{path} is not a regular file of this user")
        return os.read(file, size)
    finally:
        os.close(file)


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03}Z"


_HEADERS = {"Content-Type": "application/octet-stream", "b3": "0", "User-Agent": "obskit"}
_TIMEOUT = 10.0


class CollectorOutput:
    """Posts each profile to an obskit collector, in a format that Pyroscope accepts, too.

    One that does not arrive counts as lost, unless it was written to ``folder``.
    """

    def __init__(
        self, url: str, service: str, version: str | None, schedule: Schedule, folder: FolderOutput | None
    ) -> None:
        from obskit.export.net.http_sender import HttpSender

        name = quote(service + _labels(version), safe="")
        self._sender = HttpSender(f"{url}/ingest?name={name}&format=pprof", _HEADERS)
        self._schedule = schedule
        self._folder = folder
        self._told = False

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Wait until the next profile is due, or requested by a file in the folder."""
        return self._folder.wait_turn(stop) if self._folder is not None else self._schedule.wait(stop)

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Post a profile, and write it to the folder, if any. Raises OSError."""
        outcome = self._sender.post(profile, monotonic() + _TIMEOUT)
        if outcome.reason and not self._told:
            self._told = True
            tell(logging.WARNING, "the collector has not taken a profile (%s); later ones are tried", outcome.detail)
        written = self._folder is not None and self._folder.deliver(assignment, profile)
        return written or not outcome.reason


def _labels(version: str | None) -> str:
    """Return the labels of all samples, which follow a service's name: ``{service.version="1.4.2"}``."""
    text = (version or "").replace('"', "'")
    return f'{{service.version="{text}"}}' if version else ""
