"""What became of every span: produced = delivered + dropped (by reason) + queued, exactly."""

from __future__ import annotations

import threading
from typing import Any

from obskit.tracing.tally import Tally

QUEUE_FULL = "queue_full"
SHUTDOWN = "shutdown"


class Ledger:
    """Counts one pipeline's spans.

    Spans refused on the application's threads are counted without locks; all that happens to an accepted span
    happens on the worker, which ``wait_settled`` can watch.
    """

    def __init__(self) -> None:
        self.produced = Tally()
        self.refused = {QUEUE_FULL: Tally(), SHUTDOWN: Tally()}
        self.taken = 0
        self.delivered = 0
        self._lost: dict[str, int] = {}
        self.changed = threading.Condition()

    @property
    def settled(self) -> int:
        """The number of accepted spans whose fate is known."""
        return self.delivered + sum(self._lost.values())

    def deliver(self, count: int) -> None:
        """Count delivered spans."""
        with self.changed:
            self.delivered += count
            self.changed.notify_all()

    def lose(self, reason: str, count: int) -> None:
        """Count spans that were accepted and lost."""
        if count:
            with self.changed:
                self._lost[reason] = self._lost.get(reason, 0) + count
                self.changed.notify_all()

    def dropped(self) -> dict[str, int]:
        """Return the lost spans by reason."""
        dropped = {reason: tally.value for reason, tally in self.refused.items()}
        for reason, count in self._lost.items():
            dropped[reason] = dropped.get(reason, 0) + count
        return {reason: count for reason, count in dropped.items() if count}

    def snapshot(self, waiting: int) -> dict[str, Any]:
        """Return all counters; ``waiting`` spans have not been taken from the queue yet."""
        return {
            "produced": self.produced.value,
            "delivered": self.delivered,
            "dropped": self.dropped(),
            "queued": waiting + self.taken - self.settled,
        }
