"""How what something costs grows with its size, in CPU time: other processes do not count."""

from __future__ import annotations

import time
from collections.abc import Callable


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """True when four times as much takes less than eight times as long."""
    small, large = (min(_cost(work, count) for _ in range(3)) for count in (size, 4 * size))
    return large < 8 * small + 0.1


def _cost(work: Callable[[int], object], size: int) -> float:
    begun = time.process_time()
    work(size)
    return time.process_time() - begun
