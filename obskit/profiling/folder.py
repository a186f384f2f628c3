"""Profiles as files in a folder: sampled for some seconds of each interval, and at once when somebody asks for it.

``SERVICE-TYPE-TIME.PID.pprof.gz``, such as ``orders-cpu-20260131T120000.000Z.4711.pprof.gz``.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from time import monotonic

from obskit.profiling.turns import Assignment, Stop

SUFFIX = ".pprof.gz"
_MOST_FILES = 1000
_LOOK_FOR_REQUESTS = 1.0


def request_file(folder: str, pid: int) -> str:
    """Return the file that asks the process ``pid`` for a profile now; its content is how many seconds."""
    return os.path.join(folder, f".{pid}.request")


class FolderOutput:
    """Writes profiles of ``types`` into ``folder``, made where it is missing.

    It samples ``duration`` of every ``interval`` seconds, from a moment on that each process draws for itself. Of the
    files of one service the newest thousand are kept.
    """

    def __init__(self, folder: str, service: str, types: tuple[str, ...], duration: float, interval: float) -> None:
        self._folder = folder
        self._service = re.sub(r"[^\w.-]+", "_", service)
        self._types = types
        self._duration = duration
        self._interval = interval
        self._due = 0.0
        self._pid = 0

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Wait until the next profile is due, or asked for."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._due = monotonic() + _random() * (self._interval - self._duration)
        while (left := self._due - monotonic()) > 0:
            if stop.wait(min(left, _LOOK_FOR_REQUESTS)):
                return None
            seconds = self._requested()
            if seconds:
                return Assignment(self._types[0], seconds, self._types[1:])
        self._due = max(self._due + self._interval, monotonic())
        return Assignment(self._types[0], self._duration, self._types[1:])

    def _requested(self) -> float:
        """Return how many seconds a request file asks for, and remove it; 0 where there is none."""
        path = request_file(self._folder, os.getpid())
        try:
            with open(path, encoding="ascii") as file:
                text = file.read(20)
            os.unlink(path)
            return min(max(float(text), 0.1), 600.0)
        except (OSError, ValueError):
            return 0.0

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Write a profile: whoever lists the folder sees all of a file or nothing. Raises OSError."""
        os.makedirs(self._folder, exist_ok=True)
        prefix = f"{self._service}-{assignment.profile_type.lower()}-"
        name = f"{prefix}{_now()}.{os.getpid()}{SUFFIX}"
        temporary = os.path.join(self._folder, f".{name}.part")
        try:
            with open(temporary, "xb") as file:
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
            with suppress(FileNotFoundError):  # another process of the service has just removed it
                os.unlink(os.path.join(self._folder, name))


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03}Z"


def _random() -> float:
    """Return a number from 0 to 1 that forked processes do not share, whatever the application seeds."""
    return int.from_bytes(os.urandom(4), "big") / 2**32
