"""Waking the worker from any thread, finaliser or signal handler."""

from __future__ import annotations

from obskit.base.native_threads import allocate_lock


class Wakeup:
    """Like an Event that ``wait`` clears; ``set`` is one C call, so it cannot be interrupted while it holds a lock.

    ``threading.Event`` can: a finaliser that runs inside its ``set`` and ends a span would wait for itself.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let the next (or the present) ``wait`` return at once."""
        try:
            self._lock.release()
        except RuntimeError:  # set already
            return

    def wait(self, timeout: float = -1) -> bool:
        """Wait until set, at most ``timeout`` seconds where it is not negative; return whether it was set."""
        return bool(self._lock.acquire(timeout=timeout))
