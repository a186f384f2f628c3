"""What became of every span: produced = delivered + dropped (by reason) + spooled + queued, exactly."""

from __future__ import annotations

import threading
from collections.abc import Sized
from os import urandom
from typing import TYPE_CHECKING, Any

from obskit.base.failures import Tally
from obskit.base.native_threads import reentrant_lock

if TYPE_CHECKING:
    from obskit.export.delivery.backlog import Backlog

QUEUE_FULL = "queue_full"
SHUTDOWN = "shutdown"


class Ledger:
    """Counts one pipeline's spans.

    Refused spans are counted on the application's threads, without a lock. Everything that happens to an accepted
    one happens under ``changed``, also its leaving the queue: a snapshot counts it once, wherever it is.
    """

    def __init__(self, queue: Sized) -> None:
        self.name = urandom(8).hex()  # tells it apart from those of other processes
        self._queue = queue
        self.refused = {QUEUE_FULL: Tally(), SHUTDOWN: Tally()}
        self.taken = 0
        self.delivered = 0
        self._lost: dict[str, int] = {}
        self.backlog: Backlog | None = None
        self.changed = threading.Condition(reentrant_lock())

    @property
    def accepted(self) -> int:
        """The number of spans ever queued."""
        return self.taken + len(self._queue)

    @property
    def lost(self) -> int:
        """The number of spans that were accepted, and lost."""
        return sum(self._losses().values())

    def _losses(self) -> dict[str, int]:
        return self._lost if self.backlog is None else {**self._lost, **self.backlog.lost()}

    @property
    def ever_lost(self) -> int:
        """The number of spans that were lost, accepted or not."""
        return self.lost + sum(tally.value for tally in self.refused.values())

    @property
    def settled(self) -> int:
        """The number of accepted spans whose fate is known, or that are safe on disk."""
        return self.delivered + self.lost + self.spooled

    @property
    def spooled(self) -> int:
        """The number of spans that wait on disk."""
        return self.backlog.spooled() if self.backlog is not None else 0

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

    def note_spooled(self) -> None:
        """Wake the threads that wait for items, which are on disk now."""
        with self.changed:
            self.changed.notify_all()

    def snapshot(self) -> dict[str, Any]:
        """Return all counters of one moment."""
        with self.changed:
            accepted, spooled, losses = self.accepted, self.spooled, self._losses()
            dropped = {reason: tally.value for reason, tally in self.refused.items()}
            produced = accepted + sum(dropped.values())
            for reason, count in losses.items():
                dropped[reason] = dropped.get(reason, 0) + count
            return {
                "produced": produced,
                "delivered": self.delivered,
                "dropped": {reason: count for reason, count in dropped.items() if count},
                "spooled": spooled,
                "queued": accepted - self.delivered - sum(losses.values()) - spooled,
            }
