"""At most so many a second."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import repeat
from time import monotonic_ns

_TENTH = 100_000_000  # nanoseconds
_TENTHS = 10


class Limiter:
    """Says yes at most ``limit`` times a second, as Brave's RateLimitingSampler does.

    Of 10 or more, a tenth of the yeses comes free each tenth of a second; what is left over from one tenth is good
    until the second ends. Fewer are free from its beginning. Seconds are those since the limiter was made, by the
    monotonic ``clock`` (nanoseconds).

    Each yes takes a token. No thread waits for another: whoever sees that tokens are due adds them, unless another
    thread (or this one, interrupted by a finaliser that starts a trace) is at it already.
    """

    __slots__ = ("_began", "_clock", "_due", "_given", "_second", "_shares", "_supply", "_tokens")

    def __init__(self, limit: int, clock: Callable[[], int] = monotonic_ns) -> None:
        self._shares = _shares(limit)
        self._clock = clock
        self._began = self._due = clock()
        self._second = -1
        self._given = 0
        self._tokens: deque[None] = deque()
        self._supply = threading.Lock()

    def __call__(self) -> bool:
        """Take a token; return whether there was one."""
        if self._clock() >= self._due:
            self._refill()
        if not self._tokens:
            return False
        try:
            self._tokens.pop()
        except IndexError:  # another thread took the last one
            return False
        return True

    def _refill(self) -> None:
        if not self._supply.acquire(blocking=False):
            return
        try:
            now = (self._clock() - self._began) // _TENTH
            second, tenth = divmod(now, _TENTHS)
            if second != self._second:
                self._tokens.clear()
                self._second, self._given = second, 0
            self._tokens.extend(repeat(None, sum(self._shares[self._given : tenth + 1])))
            self._given = tenth + 1
            self._due = self._began + (now + 1) * _TENTH
        finally:
            self._supply.release()


def _shares(limit: int) -> list[int]:
    """Return how many come free in each tenth of a second; the first has what cannot be divided."""
    each, rest = divmod(limit, _TENTHS) if limit >= _TENTHS else (0, limit)
    return [each + rest, *repeat(each, _TENTHS - 1)]
