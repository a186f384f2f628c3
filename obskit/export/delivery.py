"""Bringing spans to one destination: encode, cut into batches, send, try again, and count how each span ended."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Protocol

from obskit.export.building import no_fork
from obskit.export.exporter import UNREACHABLE, Exporter, Outcome
from obskit.export.ledger import Ledger
from obskit.tracing.failures import failed, tell
from obskit.tracing.span import Span

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_KEEP_TRYING = 60.0
_FAILED = "exporter_error"


class Patience(Protocol):
    """How long the sending thread may take; asked anew each time, because closing a pipeline changes it."""

    def last_moment(self) -> float:
        """Return when all must be over (of ``time.monotonic``); infinity while the pipeline is open."""

    def attempt_ends(self) -> float:
        """Return when an attempt that begins now must be over."""

    def pause(self, seconds: float, firm: bool) -> None:
        """Wait between two attempts; ``firm`` where the receiver said how long."""


class Delivery:
    """Uses one exporter, built when the first span leaves. Not thread-safe: whoever sends holds the pipeline's lock."""

    def __init__(
        self, destination: str, build: Callable[[], Exporter], ledger: Ledger, patience: Patience, items: str
    ) -> None:
        self._destination = destination
        self._items = items
        self._build = build
        self._ledger = ledger
        self._patience = patience
        self._exporter: Exporter | None = None
        self._troubled = False

    def deliver(self, spans: list[Span]) -> None:
        """Send ``spans`` until each is delivered or lost, and counted. Never raises.

        What an exporter raises stays here, SystemExit too: on this thread nobody else could mean it.
        """
        try:
            self._deliver(spans)
        except BaseException:
            failed(f"exporting to {self._destination}")
        self._ledger.lose(_FAILED, self._ledger.taken - self._ledger.settled)

    def close(self) -> None:
        """Close the exporter. Never raises."""
        exporter, self._exporter = self._exporter, None
        try:
            if exporter is not None:
                exporter.close()
        except BaseException:
            failed(f"closing the exporter for {self._destination}")

    def _deliver(self, spans: list[Span]) -> None:
        if self._exporter is None:
            with no_fork():  # this is where most is imported
                self._exporter = self._build()
        for batch in self._batches(self._exporter, spans):
            self._send(self._exporter, batch)

    def _batches(self, exporter: Exporter, spans: list[Span]) -> Iterator[list[Any]]:
        """Encode, leaving out what cannot be, and cut where a batch grows too large."""
        batch: list[Any] = []
        size = 0
        for span in spans:
            try:
                item = exporter.encode(span)
                length = exporter.size(item)
            except BaseException:
                failed(f"encoding a span for {self._destination}")
                self._ledger.lose("unencodable", 1)
                continue
            if batch and (size + length > exporter.batch_bytes or len(batch) >= exporter.batch_items):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += length
        if batch:
            yield batch

    def _send(self, exporter: Exporter, batch: list[Any]) -> None:
        """Send until delivered, refused for good, or too late."""
        give_up = monotonic() + _KEEP_TRYING
        pause = _FIRST_PAUSE
        while (outcome := self._attempt(exporter, batch)).reason:
            self._note_trouble(outcome, len(batch))
            wait = max(outcome.retry_after, pause * random.uniform(0.5, 1.0))
            if not self._may_retry(outcome, wait, give_up):
                self._ledger.lose(outcome.reason, len(batch))
                return
            self._patience.pause(wait, firm=outcome.retry_after > 0)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._note_recovery()
        self._ledger.lose("rejected", outcome.rejected)
        self._ledger.deliver(len(batch) - outcome.rejected)

    def _attempt(self, exporter: Exporter, batch: list[Any]) -> Outcome:
        try:
            return exporter.send(batch, self._patience.attempt_ends())
        except BaseException as error:  # an exporter of somebody else's may raise anything
            failed(f"exporting to {self._destination}")
            return Outcome(_FAILED, type(error).__name__)

    def _may_retry(self, outcome: Outcome, wait: float, give_up: float) -> bool:
        last_moment = self._patience.last_moment()
        closing = last_moment < float("inf")
        # Where nobody listens, the end of the program does not wait for that to change.
        if not outcome.retry or (closing and outcome.reason == UNREACHABLE):
            return False
        return monotonic() + wait <= min(give_up, last_moment)

    def _note_trouble(self, outcome: Outcome, count: int) -> None:
        if not self._troubled:
            self._troubled = True
            plan = "they are kept and sent again" if outcome.retry else "they are lost"
            message = "%d %s could not be delivered to %s (%s); %s"
            tell(logging.WARNING, message, count, self._items, self._destination, outcome.detail, plan)

    def _note_recovery(self) -> None:
        if self._troubled:
            self._troubled = False
            tell(logging.INFO, "%s are delivered to %s again", self._items, self._destination)
