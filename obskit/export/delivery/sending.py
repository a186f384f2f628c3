"""Sends spans to one destination: encodes, cuts batches, sends, retries, and counts the outcome of each span."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from obskit.base.failures import failed, tell
from obskit.base.fork_lock import no_fork
from obskit.export.delivery.attempts import Backoff, encoded_batches, send_in_halves
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Exporter, Outcome
from obskit.export.delivery.ledger import Ledger

if TYPE_CHECKING:
    from obskit.export.delivery.backlog import Backlog
    from obskit.export.spool.segment import Record

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_KEEP_TRYING = 60.0
_KEEP_TRYING_WITH_BACKLOG = 5.0
_UNKNOWN = 2**62
_SMALLEST = 1000
_FAILED = "exporter_error"


class Patience(Protocol):
    """How long the sending thread may take; read each time, as closing a pipeline changes it."""

    def last_moment(self) -> float:
        """Return the final deadline (of ``time.monotonic``); infinity while the pipeline is open."""

    def attempt_ends(self) -> float:
        """Return the deadline of an attempt that starts now."""

    def pause(self, seconds: float, firm: bool) -> None:
        """Wait between two attempts; ``firm`` if the receiver has set the time."""


class Delivery:
    """Uses one exporter, built when the first span leaves. Not thread-safe: its caller holds the pipeline's lock."""

    def __init__(
        self,
        destination: str,
        build: Callable[[], Exporter],
        ledger: Ledger,
        patience: Patience,
        items: str,
        open_backlog: Callable[[], Backlog] | None,
    ) -> None:
        self._destination = destination
        self._items = items
        self._build = build
        self._ledger = ledger
        self._patience = patience
        self._exporter: Exporter | None = None
        self._open_backlog = open_backlog
        self._backlog: Backlog | None = None
        self._troubled = False
        self._promised = False  # that what could not be delivered is sent again
        self._lost_before = 0
        self._largest = _UNKNOWN  # bytes that the receiver takes at once, as it has shown

    def deliver(self, spans: list[Any]) -> None:
        """Send ``spans`` until each is delivered or lost, and counted. Never raises.

        All exceptions of an exporter are caught, SystemExit as well: this thread runs no other code.
        """
        try:
            self._deliver(spans)
        except BaseException:
            failed(f"exporting to {self._destination}")
            if self._backlog is not None:
                self._backlog.settle(None)
        self._ledger.lose(_FAILED, self._ledger.taken - self._ledger.settled)

    def close(self) -> None:
        """Close the exporter. Never raises.

        One that opens again is kept: a span of a finaliser's comes when nothing can be imported to build another.
        """
        exporter = self._exporter
        if not getattr(exporter, "opens_again", False):
            self._exporter = None
        try:
            if exporter is not None:
                exporter.close()
            if self._backlog is not None:
                self._backlog.close()
        except BaseException:
            failed(f"closing the exporter for {self._destination}")

    def _deliver(self, spans: list[Any]) -> None:
        exporter = self._ready()
        for batch in encoded_batches(exporter, spans, self._drop_unencodable, self._largest):
            self._send_parts(exporter, batch)

    def _ready(self) -> Exporter:
        """Return the exporter, built on first use."""
        if self._exporter is None:
            with no_fork():  # this is where most is imported
                self._exporter = self._build()
                if (report := getattr(self._exporter, "report", None)) is not None:
                    report.ledger = self._ledger
                if self._backlog is None and self._open_backlog is not None:
                    self._backlog = self._ledger.backlog = self._open_backlog()
        return self._exporter

    def _drop_unencodable(self) -> None:
        failed(f"encoding a span for {self._destination}")
        self._ledger.lose("unencodable", 1)

    def _send_parts(self, exporter: Exporter, batch: list[Any]) -> None:
        """Send a batch; if it is too large for the receiver, send halves, so that only oversized spans are lost."""

        def is_too_large(part: list[Any], last: bool) -> bool:
            too_large = self._send(exporter, part).too_large
            if too_large and not last:
                self._largest = max(_SMALLEST, sum(map(exporter.size, part)) // 2)
            return too_large

        send_in_halves(batch, is_too_large)

    def _send(self, exporter: Exporter, batch: list[Any]) -> Outcome:
        """Send until delivered, refused, or too late; count the result unless smaller parts are to be tried."""
        backlog = self._backlog
        if backlog is not None and backlog.away() and backlog.keep(batch, None):
            self._ledger.note_spooled()
            return DELIVERED
        record = backlog.begin(batch) if backlog is not None else None
        outcome = self._persist(exporter, batch)
        if outcome.retry and backlog is not None:
            backlog.give_up(outcome.retry_after)
            if backlog.keep(batch, record):
                self._ledger.note_spooled()
                return outcome
        if backlog is None or backlog.settle(record):
            self._count(outcome, len(batch))
        return outcome

    def _persist(self, exporter: Exporter, batch: list[Any]) -> Outcome:
        """Retry as long as that may help; return the outcome of the last attempt."""
        give_up = monotonic() + (_KEEP_TRYING if self._backlog is None else _KEEP_TRYING_WITH_BACKLOG)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while (outcome := self._attempt(exporter, batch)).reason:
            if outcome.too_large and len(batch) > 1:
                return outcome
            wait = max(outcome.retry_after, backoff.pause())
            again = self._may_retry(outcome, wait, give_up)
            self._note_trouble(outcome, len(batch), again or (outcome.retry and self._backlog is not None))
            if not again:
                return outcome
            self._patience.pause(wait, firm=outcome.retry_after > 0)
        self._note_recovery()
        return outcome

    def _count(self, outcome: Outcome, count: int) -> None:
        if outcome.too_large and count > 1:
            return  # its halves are
        if outcome.reason:
            self._ledger.lose(outcome.reason, count)
            self._note_loss(outcome, count)
        else:
            self._ledger.lose("rejected", outcome.rejected)
            self._ledger.deliver(count - outcome.rejected)

    def replay(self) -> None:
        """Retry one of the batches on disk, if it is time for one. Never raises."""
        if self._open_backlog is None:
            return
        try:
            exporter = self._ready()
            record = self._backlog.next() if self._backlog is not None else None
            if self._backlog is not None and record is not None:
                self._replay(exporter, self._backlog, record)
        except BaseException:
            failed(f"sending what was kept for {self._destination}")

    def _replay(self, exporter: Exporter, backlog: Backlog, record: Record) -> None:
        began = monotonic()
        outcome = self._attempt(exporter, record.items)
        if outcome.retry:
            backlog.postpone(outcome.retry_after)
            return
        self._note_recovery()
        backlog.delivered(monotonic() - began)
        if backlog.settle(record) and not record.adopted:
            self._count(outcome._replace(too_large=False), len(record.items))

    def idle(self) -> float:
        """Return after how many seconds ``replay`` may have something to do; -1 for never."""
        return self._backlog.idle() if self._backlog is not None else -1.0

    def _attempt(self, exporter: Exporter, batch: list[Any]) -> Outcome:
        try:
            return exporter.send(batch, self._patience.attempt_ends())
        except BaseException as error:  # a foreign exporter may raise anything
            failed(f"exporting to {self._destination}")
            return Outcome(_FAILED, type(error).__name__)

    def _may_retry(self, outcome: Outcome, wait: float, give_up: float) -> bool:
        last_moment = self._patience.last_moment()
        closing = last_moment < float("inf")
        # If nothing listens there, the end of the program does not wait for that to change.
        if not outcome.retry or (closing and outcome.reason == UNREACHABLE):
            return False
        return monotonic() + wait <= min(give_up, last_moment)

    def _note_trouble(self, outcome: Outcome, count: int, kept: bool) -> None:
        if not self._troubled:
            self._troubled, self._promised = True, kept
            self._lost_before = self._ledger.ever_lost
            items, they_are = (_singular(self._items), "it is") if count == 1 else (self._items, "they are")
            plan = "kept and sent again" if kept else "lost"
            message = "%d %s could not be delivered to %s (%s); %s %s"
            tell(logging.WARNING, message, count, items, self._destination, outcome.detail, they_are, plan)

    def _note_loss(self, outcome: Outcome, count: int) -> None:
        """Log once that spans to be retried are lost; the message of the recovery has the total."""
        if self._promised:
            self._promised = False
            items = _singular(self._items) if count == 1 else self._items
            message = "%d %s for %s could not be sent again in time (%s): lost"
            tell(logging.WARNING, message, count, items, self._destination, outcome.detail)

    def _note_recovery(self) -> None:
        if self._troubled:
            self._troubled = self._promised = False
            lost = self._ledger.ever_lost - self._lost_before
            meanwhile = f"; {lost} were lost meanwhile" if lost else ""
            level = logging.WARNING if lost else logging.INFO
            tell(level, "%s are delivered to %s again%s", self._items, self._destination, meanwhile)


def _singular(items: str) -> str:
    """Return ``span`` for ``spans``, and ``log entry`` for ``log entries``."""
    return items[:-3] + "y" if items.endswith("ies") else items.removesuffix("s")
