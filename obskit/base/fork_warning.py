"""Keeps CPython from warning of a fork of a process with several threads where all but one are obskit's.

From 3.12 on CPython counts the system's threads, and warns after the fork. obskit's hold nothing that a child waits
for, and without obskit there would be no warning.
"""

from __future__ import annotations

import os
import sys
import warnings

from obskit.base.failures import failed
from obskit.base.native_threads import TASKS, count_own_threads
from obskit.base.process import around_fork

_Filter = tuple[str, "_Fork", type[Warning], None, int]
_COUNTED_BEFORE = sys.version_info >= (3, 14)  # before the functions that run after a fork, which may start threads


class _Fork:
    """The pattern of a filter of ``warnings`` that matches one fork's warning, as long as no other thread is there.

    ``catch_warnings`` instead would show again what was shown, and take what other threads warn of meanwhile.
    """

    def __init__(self) -> None:
        self.filter: _Filter = ("ignore", self, DeprecationWarning, None, 0)
        self._start = f"This process (pid={os.getpid()}) is multi-threaded, use of "

    def match(self, text: str) -> bool:
        """Return whether this is the warning, and not due; then the filter has served.

        It stays if not: CPython, which is reading the list, would pass over the next one.
        """
        if not text.startswith(self._start) or not (_COUNTED_BEFORE or _is_alone()):
            return False
        _remove(self)
        return True


_last: _Fork | None = None


def warn_of_no_own_threads() -> None:
    """Look at each fork from now on."""
    if sys.version_info >= (3, 12) and sys.platform == "linux":
        around_fork(_before_fork, lambda: None)


def _is_alone() -> bool:
    """Return whether all threads but one are obskit's, and there are such."""
    ours = count_own_threads()
    try:
        return bool(ours) and len(os.listdir(TASKS)) - ours <= 1
    except OSError:  # CPython then counts those of ``threading``, among which obskit's are not
        return False


def _before_fork() -> None:
    """Add the filter in front of all others: the application's may make an error of each warning."""
    global _last  # noqa: PLW0603 - a process forks once at a time
    try:
        _remove(_last)
        _last = _Fork() if _is_alone() else None
        if _last is not None:
            _filters().insert(0, _last.filter)  # not by ``filterwarnings``: what was shown once would be shown again
    except Exception:
        failed("looking at the threads before a fork")


def _remove(fork: _Fork | None) -> None:
    filters = _filters()
    if fork is not None and fork.filter in filters:
        filters.remove(fork.filter)


def _filters() -> list[_Filter]:
    current = getattr(warnings, "_get_filters", None)  # from 3.14 on they may be a context's
    return current() if current is not None else warnings.filters  # type: ignore[return-value]
