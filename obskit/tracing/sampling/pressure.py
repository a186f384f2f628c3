"""Fewer new traces while spans wait faster than they leave: whole traces now, rather than holes in all of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from obskit.tracing.failures import tell

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
