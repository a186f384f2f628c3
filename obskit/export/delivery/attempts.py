"""Trying again: pauses that grow, and parts that shrink."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")


class Backoff:
    """The pauses between attempts: each twice as long as the one before, from ``first`` up to ``longest`` seconds.

    Each is by chance up to half shorter, so that processes which failed together do not come back together.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def pause(self) -> float:
        """Return the seconds to wait now."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin anew, as after a success."""
        self._next = self._first


def send_in_halves(
    items: list[Item], is_refused: Callable[[list[Item], bool], bool], most: float = float("inf")
) -> None:
    """Send ``items``, and the halves of what is refused as it is: one bad item costs its neighbours nothing.

    ``is_refused`` sends a part and tells whether smaller ones are to be tried; its second argument says that there are
    none: it was the last item, or the ``most`` attempts are made.
    """
    parts, attempts = [items], 0
    while parts:
        part = parts.pop()
        attempts += 1
        last = len(part) == 1 or attempts > most
        if is_refused(part, last) and not last:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
