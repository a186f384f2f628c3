"""Batches that could not be delivered, kept on disk, and sent again bit by bit."""

from __future__ import annotations

import random
from time import monotonic

from obskit.export.spool.files import CORRUPT, EVICTED, EXPIRED
from obskit.export.spool.segment import Record
from obskit.export.spool.spool import Spool

_PROBE = (5.0, 15.0)  # seconds until a receiver that was away is asked again; all processes at another moment
_REST = (3.0, 5.0)  # how many times as long as the last batch took the next one waits: the time is the live spans'
_ADOPT = (30.0, 60.0)


class Backlog:
    """What of a spool concerns one pipeline, for its sending thread.

    ``write_through`` puts every batch on disk before it is sent, so that it survives the process.
    """

    def __init__(self, spool: Spool, write_through: bool) -> None:
        self._spool = spool
        self._write_through = write_through
        self._in_flight = 0
        self._adopt_at = 0.0
        self._next_at = 0.0
        self._away_until = 0.0

    def spooled(self) -> int:
        """Return how many of this process's items wait on disk, but for those that are being sent."""
        return self._spool.own.waiting - self._in_flight

    def lost(self) -> dict[str, int]:
        """Return how many of this process's items were lost on disk, by reason."""
        own = self._spool.own
        return {f"spool_{EVICTED}": own.evicted, f"spool_{EXPIRED}": own.expired, f"spool_{CORRUPT}": own.corrupt}

    def stats(self) -> dict[str, int]:
        """Return the bytes on disk, and what became of the items that other processes left."""
        own, adopted = self._spool.own, self._spool.adopted
        return {
            "bytes": own.bytes + adopted.bytes,
            "adopted": adopted.taken,
            "adopted_waiting": adopted.waiting,
            "adopted_delivered": adopted.settled,
        }

    def away(self) -> bool:
        """Return whether the receiver failed a moment ago: what comes goes to disk, without an attempt."""
        return monotonic() < self._away_until

    def begin(self, batch: list[bytes]) -> Record | None:
        """Note that ``batch`` is being sent; return its record where it is on disk from now on."""
        record = self._spool.append(batch) if self._write_through else None
        if record is not None:
            self._in_flight = len(batch)
        return record

    def keep(self, batch: list[bytes], record: Record | None) -> bool:
        """Keep a batch for later; return False where the disk does not take it."""
        self._in_flight = 0
        return record is not None or self._spool.append(batch) is not None

    def settle(self, record: Record | None) -> bool:
        """Note that a batch is done with; return False where it was counted as lost on disk meanwhile."""
        self._in_flight = 0
        return record is None or self._spool.acknowledge(record)

    def next(self) -> Record | None:
        """Return a batch to be sent again, if it is time for one."""
        now = monotonic()
        if now >= self._adopt_at:
            self._adopt_at = now + random.uniform(*_ADOPT)
            self._spool.adopt()
        return self._spool.next() if now >= self._next_at else None

    def postpone(self, retry_after: float) -> float:
        """Send nothing that was kept for a while, and return until when; new batches are sent all the same."""
        self._next_at = monotonic() + max(retry_after, random.uniform(*_PROBE))
        return self._next_at

    def give_up(self, retry_after: float) -> None:
        """Leave the receiver in peace for a while: what is new is kept, too."""
        self._away_until = self.postpone(retry_after)

    def delivered(self, took: float) -> None:
        """Note that the receiver is there, and takes ``took`` seconds for a batch."""
        self._away_until = 0.0
        self._next_at = monotonic() + took * random.uniform(*_REST)

    def idle(self) -> float:
        """Return after how many seconds ``next`` may have something."""
        waiting = self._spool.own.waiting + self._spool.adopted.waiting
        return max(0.0, (min(self._next_at, self._adopt_at) if waiting else self._adopt_at) - monotonic())

    def close(self) -> None:
        """Leave what waits to the next process."""
        self._spool.close()
