"""Random numbers from the system: forked processes share none, and an application's seed or mock decides none.

Nor does obskit take from what a test gives: a mock of ``os.urandom`` may have two values, and two calls to answer.
"""

from __future__ import annotations

from os import urandom


def between(lowest: float, highest: float) -> float:
    """Return a number that is at least ``lowest`` and less than ``highest``."""
    return lowest + (highest - lowest) * (int.from_bytes(urandom(4), "big") / 2**32)
