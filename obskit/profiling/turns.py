"""What the sampler and an output of its profiles agree on: when to sample, for how long, and who gets the result."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from obskit.tracing.native import allocate_lock


class Assignment(NamedTuple):
    """One profile to take: its type (``CPU``, ``WALL`` or ``HEAP``) and its duration in seconds.

    ``also`` names further types to be made of the same samples; each is delivered as an assignment of its own.
    """

    profile_type: str
    duration: float
    also: tuple[str, ...] = ()


class Stop:
    """Tells the profiler's thread to end. Native, so that under gevent the thread may wait while greenlets run."""

    def __init__(self) -> None:
        self.asked = False
        self._lock = allocate_lock()
        self._lock.acquire()

    def ask(self) -> None:
        """End what ``wait`` waits for, now and from now on."""
        if not self.asked:
            self.asked = True
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, less when the end is asked for; return whether it is."""
        if not self.asked and seconds > 0 and self._lock.acquire(timeout=min(seconds, 3600.0)):
            self._lock.release()  # nobody else waits, but this thread may again
        return self.asked


class Output(Protocol):
    """Where profiles go. All is called on the profiler's thread, and may raise: the profiler counts that.

    After a fork the child uses its copy.
    """

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Block until there is something to profile; None where there is not (yet), or ``stop`` was asked for."""

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Take a gzip-compressed pprof; return whether it has arrived."""
