"""A counter that threads, signal handlers and finalisers may advance at any time without a lock.

``next()`` on ``itertools.count`` is one C call. A lock here could be taken twice by one thread, when the garbage
collector runs a finaliser that ends a span while another span is being counted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count


class Tally:
    """Counts events: ``add()`` is one C call, ``value`` the number of calls so far."""

    __slots__ = ("_reads", "add")

    def __init__(self) -> None:
        self.add: Callable[[], int] = count().__next__
        self._reads = 0

    @property
    def value(self) -> int:
        """The number of ``add()`` calls; reading advances the count too, which is subtracted again."""
        self._reads += 1
        return self.add() - self._reads + 1
