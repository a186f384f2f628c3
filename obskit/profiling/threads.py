"""What the operating system knows of a thread: its CPU clock, and its name.

On Linux a thread's CPU clock can be read by any thread of the process: ``(~tid << 3) | 6`` is the kernel's own id of it
(CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED in include/linux/posix-timers_types.h). A clock of a thread that has ended
answers EINVAL, where ``time.pthread_getcpuclockid`` would crash. Elsewhere there is wall time only.

How soon the sampler gets its turn.

A thread that wants to run Python code waits until the one that does lets go, at the latest after the interpreter's
switch interval (5 ms). A request that computes for 3 ms and then writes its answer would always be found writing.
While it samples, the profiler asks for half a millisecond; but not while several threads compute by turns, which
then would switch ten times as often, too: those are interrupted anyway.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from time import clock_gettime_ns, thread_time_ns

from obskit.base.native_threads import original

_QUICK = 0.0005


class Switching:
    """The interpreter's switch interval, borrowed. An application that sets it meanwhile has its way."""

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
"""The only one, as there is one interpreter; a forked child leaves what it inherits."""

HAS_CPU_CLOCKS = sys.platform.startswith("linux")
ENDED = -1
"""Stands for what the clock of a thread says that has ended."""
_FINE = 100_000  # nanoseconds: many times what reading a clock takes


class Identities:
    """The native ids of this process's threads by the ids that ``sys._current_frames`` gives.

    What ``threading`` does not know (gevent's main thread, say) may be known because it called ``note_this``.
    """

    def __init__(self) -> None:
        self._noted: dict[int, int] = {}

    def note_this(self) -> None:
        """Note the thread that calls."""
        self._noted[original("_thread", "get_ident")()] = threading.get_native_id()

    def find(self, ident: int) -> tuple[str, int | None]:
        """Return a thread's name and the id of its CPU clock, None where it cannot be told."""
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        native = self._noted.get(ident) or getattr(thread, "native_id", None)
        name = "MainThread" if native == os.getpid() else getattr(thread, "name", f"Thread-{ident}")
        return str(name), None if native is None or not HAS_CPU_CLOCKS else (~native << 3) | 6


def read_clocks(clocks: Sequence[int]) -> list[int]:
    """Return what CPU clocks say, in nanoseconds; ENDED where the thread has ended."""
    readings: list[int] = []
    rest = map(clock_gettime_ns, clocks)
    while len(readings) < len(clocks):
        try:
            readings.extend(rest)
        except OSError:  # noqa: PERF203 - the loop is in the line above; this one turns once for each that has ended
            readings.append(ENDED)
    return readings


def clocks_are_fine() -> bool:
    """Return whether no thread runs without its CPU clock showing it. gVisor's, say, tell ticks of 10 ms only."""
    readings = [thread_time_ns() for _ in range(10)]
    return HAS_CPU_CLOCKS and any(0 < later - earlier < _FINE for earlier, later in pairwise(readings))


def is_runnable(clock: int) -> bool:
    """Return whether the thread of a CPU clock could run, had it a processor; False where the system does not say."""
    try:
        with open(f"/proc/self/task/{~(clock >> 3)}/stat", "rb", buffering=0) as file:
            return file.read(200).rpartition(b") ")[2].startswith(b"R")
    except OSError:
        return False
