"""What became of every span: produced = delivered + dropped (by reason) + queued, exactly."""

from __future__ import annotations

import threading
from collections.abc import Sized
from typing import Any

from obskit.tracing.tally import Tally

QUEUE_FULL = "queue_full"
SHUTDOWN = "shutdown"


class Ledger:
    """Counts one pipeline's spans.

    Refused spans are counted on the application's threads, without a lock. Everything that happens to an accepted
    one happens under ``changed``, also its leaving the queue: a snapshot counts it once, wherever it is.
    """

    def __init__(self, queue: Sized) -> None:
        self._queue = queue
        self.refused = {QUEUE_FULL: Tally(), SHUTDOWN: Tally()}
        self.taken = 0
        self.delivered = 0
        self._lost: dict[str, int] = {}
        self.changed = threading.Condition()

    @property
    def accepted(self) -> int:
        """The number of spans ever queued."""
        return self.taken + len(self._queue)

    @property
    def lost(self) -> int:
        """The number of spans that were accepted, and lost."""
        return sum(self._lost.values())

    @property
    def settled(self) -> int:
        """The number of accepted spans whose fate is known."""
        return self.delivered + self.lost

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

    def snapshot(self) -> dict[str, Any]:
        """Return all counters of one moment."""
        with self.changed:
            accepted = self.accepted
            dropped = {reason: tally.value for reason, tally in self.refused.items()}
            produced = accepted + sum(dropped.values())
            for reason, count in self._lost.items():
                dropped[reason] = dropped.get(reason, 0) + count
            return {
                "produced": produced,
                "delivered": self.delivered,
                "dropped": {reason: count for reason, count in dropped.items() if count},
                "queued": accepted - self.settled,
            }
