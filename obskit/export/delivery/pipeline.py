"""From ended spans to a destination: a bounded queue that never blocks, and one thread that empties it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from obskit.base.failures import failed
from obskit.base.native_threads import (
    Wakeup,
    allocate_lock,
    forks_later,
    hide_own_thread,
    is_mere_master,
    no_sigterm,
    start_thread,
)
from obskit.base.process import Inheritance
from obskit.base.records import NamedTuple
from obskit.export.delivery.exporter import Exporter
from obskit.export.delivery.ledger import QUEUE_FULL, SHUTDOWN, Ledger
from obskit.export.delivery.sending import Delivery
from obskit.tracing.current import attach, detach, suppressed
from obskit.tracing.limits import SMALL
from obskit.tracing.span import span_weight

if TYPE_CHECKING:
    from obskit.export.delivery.backlog import Backlog

_NEVER = 2**30 - 1  # still a small number to CPython: compared at once
_SPOOLING = 0.3  # seconds kept at the end, for writing to disk what could not be sent
_MOST_TAKEN = 4 * 1024 * 1024


class Limits(NamedTuple):
    """How much a pipeline holds and how long it takes.

    ``capacity`` spans may wait, and about ``size`` bytes of them; later ones are dropped and counted. A batch goes out
    ``interval`` seconds after the first span, or when ``batch_size`` spans wait; one attempt to send it takes at most
    ``timeout`` seconds.
    """

    capacity: int
    batch_size: int
    interval: float
    timeout: float
    size: int = 64 * 1024 * 1024


class Pipeline:
    """Takes ended spans on any thread and delivers them from its own, batch by batch.

    ``build`` makes the exporter when the first span leaves, on the worker, so that ``init()`` imports nothing for it
    and no connection crosses a fork. ``destination`` names it to people, without credentials, and ``items`` what it
    carries; ``weigh`` says about how many bytes one takes. A batch that fails is tried again for a minute, or kept in a
    backlog on disk, where ``open_backlog`` makes one, and sent later.

    ``starting`` is called where the worker is about to start: from now on the end of the process has to wait for it.
    """

    starting: ClassVar[Callable[[], object]] = staticmethod(lambda: None)

    def __init__(
        self,
        destination: str,
        build: Callable[[], Exporter],
        limits: Limits,
        items: str = "spans",
        weigh: Callable[[Any], int] = span_weight,
        open_backlog: Callable[[], Backlog] | None = None,
    ) -> None:
        self.destination = destination
        self._build = build
        self._items = items
        self._weigh = weigh
        self._unit = SMALL if weigh is span_weight else 1  # bytes
        self._most_taken = _MOST_TAKEN // self._unit
        self._open_backlog = open_backlog
        self.closed = False
        self._ends = float("inf")
        self._queue: deque[Any] = deque()
        self._put = self._got = 0  # units, by what they weigh
        self._inheritance: Inheritance | None = None
        self.set_limits(limits)
        self.after_fork()

    def set_limits(self, limits: Limits) -> None:
        """Keep to ``limits`` from now on."""
        self._capacity = limits.capacity
        self._size = limits.size // self._unit
        self._limits = limits

    def after_fork(self) -> None:
        """Start empty, as a forked child must: what waits in the queue is the parent's to deliver, or one child's."""
        if self._inheritance is None or not self._inheritance.claim():
            self._queue = deque()
            self._put = self._got = 0
        self._inheritance = None
        self._brim = self._got + self._size  # what may have been put by now
        self.ledger = Ledger(self._queue)
        self._delivery = Delivery(self.destination, self._build, self.ledger, self, self._items, self._open_backlog)
        self._wakeup = Wakeup()
        self._starting = allocate_lock()
        self._sending = allocate_lock()
        self._running = False
        self._hurry = False
        self._late_until = 0.0
        self._wake_at = 0  # the worker is to be woken when this many spans wait
        if self._queue:
            self._wake()

    def offer(self, item: Any) -> None:
        """Accept an ended span, or count it as dropped. Waits for no lock and never raises."""
        queue = self._queue
        waiting = len(queue)
        weigh = self._weigh
        # ``span_weight`` written out: the call would take a fourth of the time of all this.
        weight = len(item.tags) + item.heavy if weigh is span_weight else weigh(item)
        self._put = put = self._put + weight  # no other thread comes between: CPython switches at calls and jumps only
        if waiting >= self._capacity or put > self._brim:
            self._put -= weight
            self.refuse(item)
        else:
            queue.append(item)
            if waiting >= self._wake_at:
                self._wake()

    def refuse(self, item: Any = None) -> None:
        """Count an item that found the queue full, or closed; at the end of the program deliver it after all."""
        if item is not None and self._late_until and self._send_late(item):
            return
        self.ledger.refused[SHUTDOWN if self.closed else QUEUE_FULL].add()

    @property
    def full(self) -> bool:
        """Whether nothing more is accepted, for now."""
        if self._late_until:
            return monotonic() > self._late_until
        return len(self._queue) >= self._capacity or self._put - self._got >= self._size

    def flush(self, deadline: float) -> bool:
        """Send what was offered so far; return whether all of it was delivered before ``deadline``."""
        ledger = self.ledger
        with ledger.changed:
            target, lost = ledger.accepted, ledger.lost
        if target == ledger.settled:
            return not ledger.spooled
        self._hurry = True
        if not self._wake():
            self._drain(deadline)
        with ledger.changed:
            done = ledger.changed.wait_for(lambda: ledger.settled >= target, max(0.0, deadline - monotonic()))
            return done and ledger.lost == lost and not ledger.spooled

    def begin_close(self, deadline: float) -> None:
        """Accept nothing more and deliver what is queued, without waiting for it; what is left is counted.

        Again, only an earlier deadline counts.
        """
        if self.closed and deadline >= self._ends:
            return
        self.closed = True
        self._capacity = -1
        self._ends = deadline
        if self.ledger.accepted > self.ledger.settled or self._running:
            self._wake()

    def close(self, deadline: float) -> bool:
        """Deliver what is queued, then stop for good; return whether nothing was lost. Spans left are counted."""
        self.begin_close(deadline)
        done = self.flush(deadline)
        with self.ledger.changed:
            ended = self.ledger.changed.wait_for(lambda: not self._running, max(0.0, deadline - monotonic()))
        if ended:
            self._delivery.close()
        return done

    def reopen(self) -> None:
        """Accept items again, after ``close``."""
        self.closed = False
        self._ends = float("inf")
        self._late_until = 0.0
        self.set_limits(self._limits)

    def accept_late(self, deadline: float) -> None:
        """Send what still comes, from now until ``deadline``, at once and on the thread that it comes from.

        Exit handlers that were registered before obskit's run after it.
        """
        if self.closed and not self._running:
            self._late_until = self._ends = deadline

    def resume(self) -> None:
        """Begin with what other processes left on disk, without waiting for a span."""
        self._wake()

    @property
    def fill(self) -> float:
        """How full the queue is beyond the one batch that waits for others to go out with: 0 or less, to 1."""
        size = (self._put - self._got) / self._size - 0.25
        beyond = len(self._queue) - self._limits.batch_size
        if beyond <= 0:
            return size
        room = self._capacity - self._limits.batch_size
        return max(size, beyond / room if room > 0 else 0.0)

    @property
    def busy(self) -> bool:
        """Whether the worker still runs."""
        return self._running

    def stats(self) -> dict[str, Any]:
        """Return the ledger and the worker's state."""
        state = "closed" if self.closed else "running" if self._running else "idle"
        backlog = self.ledger.backlog
        spool = {"spool": backlog.stats()} if backlog is not None else {}
        return {"destination": self.destination, **self.ledger.snapshot(), **spool, "worker": state}

    # The application's threads

    def _wake(self) -> bool:
        """Wake the worker, started if it is not there; return whether it is."""
        self._wake_at = _NEVER  # before the signal: the worker sets it anew when it has seen the signal
        if not self._running and self._starting.acquire(blocking=False):
            try:
                self._start()
            finally:
                self._starting.release()
        self._wakeup.set()
        return self._running

    def _start(self) -> None:
        """Start the worker, unless there are no more threads or the interpreter is ending: then the next span tries.

        A thread of ``threading``'s would take a lock of that module, which a finaliser that runs while the application
        starts a thread could wait for in vain.
        """
        if self._running:
            return
        if forks_later():
            self._wake_at = 0
            if self._inheritance is None and is_mere_master():
                self._inheritance = Inheritance()
            return
        try:
            Pipeline.starting()
            with no_sigterm():  # whose handler would wait for a worker that has yet to begin
                self._running = True
                start_thread("obskit-export", self._run)
        except Exception as error:
            self._running = False
            self._wake_at = 0
            if "shutdown" not in str(error):
                failed("starting the export thread")

    def _drain(self, deadline: float) -> None:
        """Send what waits on this thread, where no other could be started."""
        token, ends = attach(suppressed()), self._ends
        try:
            self._ends = min(ends, deadline)
            self._send_waiting()
        finally:
            self._ends = ends
            detach(token)

    def _send_late(self, item: Any) -> bool:
        """Send one item; where that fails, later ones are not tried. Return whether it is accounted for."""
        if monotonic() > self._late_until:
            return False
        lost = self.ledger.ever_lost
        self._put += self._weigh(item)
        self._queue.append(item)
        self._drain(self._late_until)
        if self._queue or self.ledger.ever_lost > lost:
            self._late_until = 0.0
        return True

    # The worker's thread

    def _run(self) -> None:
        attach(suppressed())
        try:
            while not self.closed or self._queue:
                self._wait_for_spans()
                self._send_waiting()
                hide_own_thread()
            self._delivery.close()
        except BaseException:  # the threading module may be gone when the interpreter ends
            failed("the export thread")
        finally:
            self._leave()

    def _leave(self) -> None:
        with self.ledger.changed:
            self._running = False
            self._wake_at = 0
            self.ledger.changed.notify_all()
        if self._queue:  # came while this thread was on its way out
            self._wake()

    def _wait_for_spans(self) -> None:
        """Sleep until there is a span, then a little longer for more to come.

        Each time ``_wake_at`` is set before the queue is looked at: a span that comes in between wakes in vain,
        none comes unseen.
        """
        self._wake_at = 0
        if not self._queue and not self.closed and not self._wakeup.wait(self._delivery.idle()):
            return  # it is time for what was kept
        end = monotonic() + self._limits.interval
        while (left := end - monotonic()) > 0:
            self._wake_at = self._limits.batch_size - 1
            if self._hurry or self.closed or len(self._queue) >= self._limits.batch_size:
                break
            self._wakeup.wait(left)
        self._wake_at = _NEVER
        self._hurry = False

    def _send_waiting(self) -> None:
        if not self._sending.acquire(timeout=_longest_wait(self._ends)):
            return
        try:
            while self._queue:
                self._delivery.deliver(self._take())
                if not self.closed:
                    self._delivery.replay()
            if not self.closed:
                self._delivery.replay()
        finally:
            self._sending.release()

    def _take(self) -> list[Any]:
        """Return the next batch: no more than a receiver takes at once, since all of it is encoded at once."""
        queue = self._queue
        with self.ledger.changed:
            waiting = self._put - self._got
            items = [queue.popleft() for _ in range(min(len(queue), self._limits.batch_size))]
            # Where nothing is left, all that waited was taken: no need to weigh each again.
            self._got += self._trim(items) if queue or waiting > self._most_taken else waiting
            self._brim = self._got + self._size
            self.ledger.taken += len(items)
        return items

    def _trim(self, items: list[Any]) -> int:
        """Put back what is too much for one batch; return what the others weigh."""
        weight = sum(map(self._weigh, items))
        while weight > self._most_taken and len(items) > 1:
            weight -= self._weigh(items[-1])
            self._queue.appendleft(items.pop())
        return weight

    # What bounds the delivery

    def last_moment(self) -> float:
        """Return when all must be over."""
        return self._ends - (_SPOOLING if self._open_backlog is not None else 0.0)

    def attempt_ends(self) -> float:
        """Return when an attempt that begins now must be over."""
        return min(monotonic() + self._limits.timeout, self.last_moment())

    def pause(self, seconds: float, firm: bool) -> None:
        """Wait; ``close`` cuts short a pause that began before it, and ``flush`` one that is not firm."""
        end = monotonic() + seconds
        ends = self._ends
        while self._ends == ends and (left := end - monotonic()) > 0:
            if self._hurry and not firm:
                self._hurry = False
                return
            self._wakeup.wait(left)


def _longest_wait(ends: float) -> float:
    """Return the seconds until ``ends`` as a lock takes them: -1 for ever."""
    return -1 if ends == float("inf") else max(0.0, ends - monotonic())
