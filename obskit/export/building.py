"""A lock that a fork waits for: a child that forks off amid an import would keep a half-imported module for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from obskit.tracing.process import around_fork, on_fork

_LONGEST_WAIT = 1.0  # seconds, where the import for its part waits for the forking thread
_lock = threading.Lock()
_forking = threading.local()


@contextmanager
def no_fork() -> Iterator[None]:
    """Have forks of other threads wait until the block is over, a second at most."""
    lock = _lock
    with lock:
        yield


def _before_fork() -> None:
    _forking.holds = _lock.acquire(timeout=_LONGEST_WAIT)


def _after_in_parent() -> None:
    if _forking.holds:
        _lock.release()


def _after_in_child() -> None:
    global _lock  # noqa: PLW0603 - the thread that held the old one may be gone
    _lock = threading.Lock()


around_fork(_before_fork, _after_in_parent)
on_fork(_after_in_child)  # in the order of obskit's other renewals, some of which start threads that import
