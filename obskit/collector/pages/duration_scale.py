"""The vertical scale of the scatter plot: durations from the bottom to the top, linear or logarithmic."""

from __future__ import annotations

import math
from itertools import chain
from typing import NamedTuple

from obskit.collector.store.requests import Found

_NICE = (1, 2, 5)
_SAMPLE = 100  # blocks, of which a scale is estimated


class Scale(NamedTuple):
    """Microseconds at the bottom and at the top; what is longer is drawn on the upper edge."""

    bottom: int
    top: int
    is_log: bool = False

    def row(self, took: float, high: int) -> int:
        """Return the row, of so many, of a duration."""
        part = took / self.top
        if self.is_log:
            part = math.log(max(took / self.bottom, 1)) / math.log(self.top / self.bottom)
        return min(int(part * high), high - 1)


def scale_of(found: Found, name: str, top: int | None = None) -> Scale:
    """Return the scale ``log`` or another, with ``top`` if that is given.

    A linear one ends above all but about one in a hundred requests, a logarithmic one has the decades of all but these.
    """
    took = _some(found)
    if name != "log":
        return Scale(0, top or _nice(took[int(len(took) * 0.99)] * 1.1))
    bottom = 10 ** int(math.log10(max(took[len(took) // 100], 1)))
    highest = 10 ** math.ceil(math.log10(max(took[int(len(took) * 0.99)], 2)))
    return Scale(bottom, max(top or highest, 10 * bottom), True)


def _some(found: Found) -> list[int]:
    """Return durations, sorted: a sample if there are many."""
    some = found.parts[:: max(len(found.parts) // _SAMPLE, 1)]
    return sorted(chain.from_iterable(part.column("took") for part in some)) or [900_000]


def _nice(high: float) -> int:
    """Return a round number that is not less."""
    top = 1
    while top * _NICE[-1] < high:
        top *= 10
    return next((top * nice for nice in _NICE if top * nice >= high), top * 10)
