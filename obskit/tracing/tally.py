"""A counter that threads, signal handlers and finalisers may advance at any time without a lock.

``next()`` on ``itertools.count`` is one C call. A lock here could be taken twice by one thread, when the garbage
collector runs a finaliser that ends a span while another span is being counted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count


class Tally:
    """Counts events: ``add()`` is one C call, ``value`` the number of calls so far."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add: Callable[[], int] = self._count.__next__

    @property
    def value(self) -> int:
        """The number of ``add()`` calls. Reading changes nothing, so that readers need no lock either."""
        return int(repr(self._count)[len("count(") : -1])  # the only way to look at it without advancing it
