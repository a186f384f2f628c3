"""At most so many a second.

Fewer new traces while spans wait faster than they leave: whole traces now, rather than holes in all of them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import repeat
from time import monotonic_ns

from obskit.base.failures import tell

HIGHEST_LIMIT = 100_000
"""Traces a second; far above what one process serves."""

_BEGINS = 0.5
_ENDS = 0.25
_STEP = 1 / 16


class Pressure:
    """Watches how full the queue is (``fill``, 0 to 1), and has ``apply`` called with the factor for all rates.

    From half full the rates are halved, and again with each further sixteenth of the queue; they come back the same
    way, to the full when a quarter is left.
    """

    def __init__(self, fill: Callable[[], float], apply: Callable[[float], object]) -> None:
        self._fill = fill
        self._apply = apply
        self._level = 0
        self._changing = threading.Lock()

    @property
    def factor(self) -> float:
        """What all rates are multiplied by, 0.0 to 1.0."""
        return float(2**-self._level)

    def look(self) -> None:
        """Compare the queue with the marks. Waits for no other thread that does."""
        fill = self._fill()
        if self._level == 0 and fill < _BEGINS:
            return
        if self._changing.acquire(blocking=False):
            try:
                self._change(_level(fill, self._level > 0), fill)
            finally:
                self._changing.release()

    def _change(self, level: int, fill: float) -> None:
        before, self._level = self._level, level
        if level == before:
            return
        self._apply(self.factor)
        if before == 0:
            tell(logging.WARNING, "spans wait for delivery (%d%% of the queue): fewer new traces are kept", fill * 100)
        elif level == 0:
            tell(logging.INFO, "spans are delivered in time again: new traces are kept as configured")


def _level(fill: float, active: bool) -> int:
    """Return how often the rates are halved."""
    if fill < (_ENDS if active else _BEGINS):
        return 0
    return 1 + max(0, int((fill - _BEGINS) / _STEP))


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
