"""From ended spans to a destination: a bounded queue that never blocks, and one thread that empties it."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from obskit.export.exporter import UNREACHABLE, Exporter, Outcome
from obskit.export.ledger import QUEUE_FULL, SHUTDOWN, Ledger
from obskit.export.signal import Signal
from obskit.tracing.current import attach, detach, suppressed
from obskit.tracing.failures import failed, logger
from obskit.tracing.span import Span

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_KEEP_TRYING = 60.0
_BATCH_BYTES = 500_000


class Pipeline:
    """Takes ended spans on any thread and delivers them from its own, batch by batch.

    ``build`` makes the exporter when the first span leaves, on the worker, so that ``init()`` imports nothing for it
    and no connection crosses a fork. ``destination`` names it to people, without credentials.
    ``capacity`` is the number of spans that may wait; later ones are dropped and counted. A batch goes out
    ``interval`` seconds after the first span, or when ``batch_size`` spans wait; one attempt takes at most
    ``timeout`` seconds, and a batch that fails is tried again for a minute.
    """

    def __init__(
        self,
        destination: str,
        build: Callable[[], Exporter],
        *,
        capacity: int,
        batch_size: int,
        interval: float,
        timeout: float,
    ) -> None:
        self.destination = destination
        self._build = build
        self._capacity = capacity
        self._batch_size = batch_size
        self._interval = interval
        self._timeout = timeout
        self._closed_by: float | None = None
        self._troubled = False
        self.renew()

    def renew(self) -> None:
        """Start empty, as a forked child must: what waits in the queue is the parent's to deliver."""
        self._exporter: Exporter | None = None
        self.ledger = Ledger()
        self._queue: deque[Span] = deque()
        self._signal = Signal()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._awake = False
        self._hurry = False

    def offer(self, span: Span) -> None:
        """Accept an ended span, or count it as dropped. Takes no lock and never raises."""
        self.ledger.produced.add()
        waiting = len(self._queue)
        if waiting >= self._capacity:
            self.ledger.refused[QUEUE_FULL].add()
        elif self._closed_by is not None:
            self.ledger.refused[SHUTDOWN].add()
        else:
            self._queue.append(span)
            if not self._awake or waiting == self._batch_size:
                self._wake()

    def flush(self, deadline: float) -> bool:
        """Send what was offered so far; return whether all of it was delivered before ``deadline``."""
        ledger = self.ledger
        with ledger.changed:
            target = ledger.taken + len(self._queue)
            lost = ledger.settled - ledger.delivered
            if target == ledger.settled:
                return True
        self._hurry = True
        self._wake()
        if self._thread is None:
            self._drain()
        with ledger.changed:
            done = ledger.changed.wait_for(lambda: ledger.settled >= target, max(0.0, deadline - monotonic()))
            return done and ledger.settled - ledger.delivered == lost

    def close(self, deadline: float, wait: bool = True) -> bool:
        """Deliver what is queued, then stop for good; return whether nothing was lost. Spans left are counted."""
        self._closed_by = deadline
        done = self.flush(deadline if wait else 0.0)
        self._signal.set()
        thread = self._thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - monotonic()))
        return done

    @property
    def busy(self) -> bool:
        """Whether the worker still runs."""
        return self._thread is not None and self._thread.is_alive()

    def stats(self) -> dict[str, Any]:
        """Return the ledger and the worker's state."""
        state = "closed" if self._closed_by is not None else "running" if self.busy else "idle"
        return {"destination": self.destination, **self.ledger.snapshot(len(self._queue)), "worker": state}

    # The application's threads

    def _wake(self) -> None:
        if (self._thread is None or not self._thread.is_alive()) and self._starting.acquire(blocking=False):
            try:
                thread = threading.Thread(target=self._run, name="obskit-export", daemon=True)
                thread.start()
                self._thread = thread
            except Exception:  # no more threads, or the interpreter is ending: the next span, or flush, tries again
                failed("starting the export thread")
            finally:
                self._starting.release()
        self._signal.set()

    # The worker's thread

    def _run(self) -> None:
        attach(suppressed())
        while self._closed_by is None or self._queue:
            self._wait_for_spans()
            try:
                self._send_waiting()
            except BaseException:  # SystemExit and gevent timeouts included: the worker outlives them
                failed("exporting spans")
        if self._exporter is not None:
            self._exporter.close()

    def _drain(self) -> None:
        """Send what waits on this thread, where no other could be started."""
        token = attach(suppressed())
        try:
            self._send_waiting()
        finally:
            detach(token)

    def _wait_for_spans(self) -> None:
        """Sleep until there is a span, then a little longer for more to come."""
        self._awake = bool(self._queue)
        if not self._queue and self._closed_by is None:
            self._signal.wait()
            self._awake = True
        if not self._hurry and self._closed_by is None and len(self._queue) < self._batch_size:
            self._signal.wait(self._interval)
        self._hurry = False

    def _send_waiting(self) -> None:
        while self._queue:
            spans = self._take()
            exporter = self._ready_exporter()
            if exporter is None:
                self.ledger.lose("exporter_error", len(spans))
                continue
            for batch in self._batches(exporter, spans):
                self._deliver(exporter, batch)

    def _ready_exporter(self) -> Exporter | None:
        if self._exporter is None:
            try:
                self._exporter = self._build()
            except Exception:
                failed(f"building the exporter for {self.destination}")
        return self._exporter

    def _take(self) -> list[Span]:
        with self.ledger.changed:
            count = min(len(self._queue), self._batch_size)
            spans = [self._queue.popleft() for _ in range(count)]
            self.ledger.taken += count
        return spans

    def _batches(self, exporter: Exporter, spans: list[Span]) -> Iterator[list[Any]]:
        """Encode, leaving out what cannot be, and cut where a batch grows too large."""
        batch: list[Any] = []
        size = 0
        for span in spans:
            try:
                item = exporter.encode(span)
            except Exception:
                failed(f"encoding a span for {self.destination}")
                self.ledger.lose("unencodable", 1)
                continue
            length = exporter.size(item)
            if batch and size + length > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += length
        if batch:
            yield batch

    def _deliver(self, exporter: Exporter, batch: list[Any]) -> None:
        """Send until delivered, refused for good, or too late."""
        give_up = monotonic() + _KEEP_TRYING
        pause = _FIRST_PAUSE
        while True:
            outcome = self._attempt(exporter, batch)
            if not outcome.reason:
                self.ledger.deliver(len(batch))
                self._note_recovery()
                return
            self._note_trouble(outcome, len(batch))
            wait = max(outcome.retry_after, pause * random.uniform(0.5, 1.0))
            hopeless = self._closed_by is not None and outcome.reason == UNREACHABLE
            if hopeless or not outcome.retry or monotonic() + wait > min(give_up, self._last_moment()):
                self.ledger.lose(outcome.reason, len(batch))
                return
            self._pause(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, exporter: Exporter, batch: list[Any]) -> Outcome:
        deadline = min(monotonic() + self._timeout, self._last_moment())
        try:
            return exporter.send(batch, deadline)
        except BaseException as error:  # an exporter of somebody else's may raise anything
            failed(f"exporting to {self.destination}")
            return Outcome("exporter_error", type(error).__name__)

    def _last_moment(self) -> float:
        return float("inf") if self._closed_by is None else self._closed_by

    def _pause(self, seconds: float) -> None:
        """Wait; ``close`` cuts short a pause that began before it."""
        end = monotonic() + seconds
        closed_by = self._closed_by
        while self._closed_by == closed_by and (left := end - monotonic()) > 0:
            self._signal.wait(left)

    def _note_trouble(self, outcome: Outcome, count: int) -> None:
        if not self._troubled:
            self._troubled = True
            where = self.destination
            plan = "they are kept and sent again" if outcome.retry else "they are lost"
            logger.warning("%d spans could not be delivered to %s (%s); %s", count, where, outcome.detail, plan)

    def _note_recovery(self) -> None:
        if self._troubled:
            self._troubled = False
            logger.info("spans are delivered to %s again", self.destination)
