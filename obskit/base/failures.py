"""Failures inside obskit: caught where they happen, each logged once and counted; the application never sees them.

Counters can be advanced by threads, signal handlers and finalisers at any time without a lock: ``next()`` on
``itertools.count`` is one C call. One thread could take a lock twice, when the garbage collector runs a finaliser that
ends a span while another span is being counted.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from itertools import count

from obskit.base.interruptions import let_through
from obskit.base.native_threads import named


class Tally:
    """Counts events: ``add()`` is one C call, ``value`` the number of calls so far."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add: Callable[[], int] = self._count.__next__

    @property
    def value(self) -> int:
        """Return the number of ``add()`` calls. Reading does not change it, so that readers need no lock either."""
        return int(repr(self._count)[len("count(") : -1])  # the only way to read it without advancing it


logger = logging.getLogger("obskit")
failures = Tally()
_logged: set[str] = set()


def failed(what: str) -> None:
    """Count the exception being handled, and log it the first time ``what`` fails.

    Raises nothing, but a signal handler's exception once more, as ``raised`` and ``misused`` do.
    """
    let_through()
    failures.add()
    _tell_once(f"{what} failed inside obskit")


def raised(what: str) -> None:
    """Log the exception being handled the first time that ``what``, which is not obskit's, raises."""
    let_through()
    _tell_once(f"{what} raised")


def misused(what: str) -> None:
    """Log, the first time, that ``what`` of obskit's interface was given an unusable argument."""
    let_through()
    _tell_once(f"{what} was given an argument that it cannot use, which is ignored")


def _tell_once(what: str) -> None:
    if what not in _logged:
        _logged.add(what)
        tell(logging.WARNING, "%s; the application is not affected", what, traceback=True)


def tell(level: int, message: str, *args: object, traceback: bool = False) -> None:
    """Log; if the application's handler raises, that is counted and not tried again.

    Without a traceback once the interpreter is ending: the lines of source in it would have to be imported.
    """
    logger.disabled = False  # logging.config.dictConfig disables loggers that it does not name
    try:
        with named():
            logger.log(level, message, *args, exc_info=traceback and sys.meta_path is not None)
    except Exception:
        failures.add()
