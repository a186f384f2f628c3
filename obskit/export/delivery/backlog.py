"""Batches that could not be delivered, kept on disk and retried little by little."""

from __future__ import annotations

from time import monotonic

from obskit.base.chance import between
from obskit.export.spool.files import CORRUPT, EVICTED, EXPIRED
from obskit.export.spool.segment import Record
from obskit.export.spool.spool import Spool

_PROBE = (5.0, 15.0)  # seconds until a receiver that was away is asked again; all processes at another moment
_REST = (3.0, 5.0)  # how many times as long as the last batch took the next one waits: the time is the live spans'
_ADOPT = (30.0, 60.0)


class Backlog:
    """The spool of one pipeline, as its sending thread uses it.

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
        """Return whether the receiver failed recently: new batches then go to disk without an attempt."""
        return monotonic() < self._away_until

    def begin(self, batch: list[bytes]) -> Record | None:
        """Note that ``batch`` is being sent; return its record if it was written to disk."""
        record = self._spool.append(batch) if self._write_through else None
        if record is not None:
            self._in_flight = len(batch)
        return record

    def keep(self, batch: list[bytes], record: Record | None) -> bool:
        """Write a batch to disk for later; return False if that fails."""
        self._in_flight = 0
        return record is not None or self._spool.append(batch) is not None

    def settle(self, record: Record | None) -> bool:
        """Acknowledge a batch; return False if it was counted as lost on disk meanwhile."""
        self._in_flight = 0
        return record is None or self._spool.acknowledge(record)

    def next(self) -> Record | None:
        """Return a batch to retry, if it is time for one."""
        now = monotonic()
        if now >= self._adopt_at:
            self._adopt_at = now + between(*_ADOPT)
            self._spool.adopt()
        return self._spool.next() if now >= self._next_at else None

    def postpone(self, retry_after: float) -> float:
        """Retry no batch for a while, and return until when; new batches are still sent."""
        self._next_at = monotonic() + max(retry_after, between(*_PROBE))
        return self._next_at

    def give_up(self, retry_after: float) -> None:
        """Send nothing for a while: new batches go to disk, too."""
        self._away_until = self.postpone(retry_after)

    def delivered(self, took: float) -> None:
        """Note that the receiver has accepted a batch in ``took`` seconds."""
        self._away_until = 0.0
        self._next_at = monotonic() + took * between(*_REST)

    def idle(self) -> float:
        """Return after how many seconds ``next`` may have something."""
        waiting = self._spool.own.waiting + self._spool.adopted.waiting
        return max(0.0, (min(self._next_at, self._adopt_at) if waiting else self._adopt_at) - monotonic())

    def close(self) -> None:
        """Leave the remaining batches to the next process."""
        self._spool.close()
