"""CPU clocks and names of threads, and the interpreter's switch interval while the profiler samples.

On Linux any thread of the process can read a thread's CPU clock: its id is ``(~tid << 3) | 6`` (CPUCLOCK_PERTHREAD |
CPUCLOCK_SCHED in include/linux/posix-timers_types.h). For an ended thread that gives EINVAL, where
``time.pthread_getcpuclockid`` would crash. Other systems have wall time only.

A thread that wants to run Python code waits until the running one releases the interpreter lock, at most for the switch
interval (5 ms). A request that computes for 3 ms and then writes its answer would always be found writing. So while it
samples, the profiler sets half a millisecond; but not while several threads compute, which would then switch ten times
as often, too: those are interrupted anyway.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from time import clock_gettime_ns, thread_time_ns

from obskit.base.native_threads import name_of_own_thread, original

_QUICK = 0.0005


class Switching:
    """Sets the interpreter's switch interval temporarily, unless the application sets it meanwhile."""

    def __init__(self) -> None:
        self._before: float | None = None
        self._set = 0.0

    def __enter__(self) -> Switching:
        self._before = self._set = sys.getswitchinterval()
        return self

    def __call__(self, quick: bool) -> None:
        """Choose between the short interval and the application's."""
        if self._before is None or sys.getswitchinterval() != self._set:
            self._before = None
            return
        wanted = min(_QUICK, self._before) if quick else self._before
        if wanted != self._set:
            sys.setswitchinterval(wanted)
            self._set = sys.getswitchinterval()

    def __exit__(self, *_: object) -> None:
        self(quick=False)
        self._before = None


switching = Switching()
"""The only instance, as there is one interpreter. A forked child first restores the application's interval."""

HAS_CPU_CLOCKS = sys.platform.startswith("linux")
ENDED = -1
"""The clock value of a thread that has ended."""
_FINE = 100_000  # nanoseconds: many times the cost of reading a clock


class Identities:
    """The native ids of this process's threads, by the ids of ``sys._current_frames``.

    Threads unknown to ``threading`` (such as gevent's main thread) can register themselves by ``note_this``.
    """

    def __init__(self) -> None:
        self._noted: dict[int, int] = {}

    def note_this(self) -> None:
        """Register the calling thread."""
        self._noted[original("_thread", "get_ident")()] = threading.get_native_id()

    def find(self, ident: int) -> tuple[str, int | None]:
        """Return a thread's name and the id of its CPU clock, or None for what is unknown."""
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        native = self._noted.get(ident) or getattr(thread, "native_id", None)
        known = name_of_own_thread(ident) or getattr(thread, "name", f"Thread-{ident}")
        name = "MainThread" if native == os.getpid() else known
        return str(name), None if native is None or not HAS_CPU_CLOCKS else (~native << 3) | 6


def read_clocks(clocks: Sequence[int]) -> list[int]:
    """Return the values of CPU clocks in nanoseconds; ENDED for ended threads."""
    readings: list[int] = []
    rest = map(clock_gettime_ns, clocks)
    while len(readings) < len(clocks):
        try:
            readings.extend(rest)
        except OSError:  # noqa: PERF203 - map loops in the line above; this loop runs once for each ended thread
            readings.append(ENDED)
    return readings


def clocks_are_fine() -> bool:
    """Return whether CPU clocks show all running. gVisor's, for example, have a resolution of 10 ms only."""
    readings = [thread_time_ns() for _ in range(10)]
    return HAS_CPU_CLOCKS and any(0 < later - earlier < _FINE for earlier, later in pairwise(readings))


def is_runnable(clock: int) -> bool:
    """Return whether the thread of a CPU clock is runnable; False if the system does not tell."""
    try:
        with open(f"/proc/self/task/{~(clock >> 3)}/stat", "rb", buffering=0) as file:
            return file.read(200).rpartition(b") ")[2].startswith(b"R")
    except OSError:
        return False
