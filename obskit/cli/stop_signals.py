"""Waiting for the signals that end a command."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class StopSignals:
    """Catches SIGINT and SIGTERM, from its making on.

    Not by a ``threading.Event``: a handler that interrupts the event's own ``wait`` would wait for its lock for ever.
    ``SimpleQueue.put`` may be called by handlers, as Python's documentation says.
    """

    def __init__(self) -> None:
        self._caught: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._catch)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until one has come, or for ``seconds``; return whether one has come."""
        try:
            self._caught.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self._caught.put(number)
