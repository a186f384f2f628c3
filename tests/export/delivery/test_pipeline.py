"""The bounded queue and its worker: never block, never lose silently, count exactly."""

from __future__ import annotations

import _thread
import gc
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.delivery.ledger import Ledger
from obskit.export.delivery.pipeline import Limits, Pipeline
from obskit.instrumentation.tracer import provider
from obskit.tracing.current import SUPPRESS_KEY, get_context
from obskit.tracing.span import span_weight
from tests.export.receiver import ROOT, eventually

LIMITS = Limits(capacity=100_000, batch_size=1000, interval=0.01, timeout=10.0)


class Inbox:
    """An exporter that keeps what it is sent, and does as told before each answer."""

    batch_items = 10_000
    batch_bytes = 500_000

    def __init__(self, answer: Callable[[list[Any]], Outcome] = lambda _: DELIVERED) -> None:
        self.answer = answer
        self.batches: list[list[Any]] = []
        self.deadlines: list[float] = []
        self.threads: set[int] = set()
        self.closed = 0

    def encode(self, span: Any) -> Any:
        return span() if callable(span) else span

    def size(self, item: Any) -> int:
        return weigh(item)

    def send(self, items: list[Any], deadline: float) -> Outcome:
        assert get_context().get(SUPPRESS_KEY), "the exporter must not be traced"
        self.threads.add(threading.get_ident())
        self.deadlines.append(deadline)
        outcome = self.answer(items)
        if outcome is DELIVERED:
            self.batches.append(items)
        return outcome

    def close(self) -> None:
        self.closed += 1

    @property
    def items(self) -> list[Any]:
        return [item for batch in self.batches for item in batch]


def weigh(item: Any) -> int:
    return len(item) if isinstance(item, bytes) else 10


@pytest.fixture
def make() -> Iterator[Callable[..., Pipeline]]:
    """Make pipelines that are closed after the test, when whatever held their exporters is let go."""
    made: list[Pipeline] = []

    def pipeline(exporter: Any, **limits: Any) -> Pipeline:
        made.append(Pipeline("here", lambda: exporter, LIMITS._replace(**limits), weigh=weigh))
        return made[-1]

    yield pipeline
    for one in made:
        one.close(time.monotonic() + 5)
        eventually(lambda: not one.busy)  # noqa: B023 - used up at once


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def balance(pipeline: Pipeline) -> dict[str, Any]:
    """Return the counters, having checked that they add up."""
    stats = pipeline.stats()
    assert (
        stats["produced"] == stats["delivered"] + sum(stats["dropped"].values()) + stats["spooled"] + stats["queued"]
    ), stats
    return stats


def test_a_span_is_delivered_and_counted(make):
    inbox = Inbox()
    pipeline = make(inbox)
    pipeline.offer(1)
    assert pipeline.flush(soon())
    assert inbox.items == [1]
    assert balance(pipeline) | {"worker": ""} == {
        "destination": "here", "produced": 1, "delivered": 1, "dropped": {}, "spooled": 0, "queued": 0,
        "worker": "",
    }  # fmt: skip


def test_no_thread_is_started_and_no_exporter_built_before_the_first_span():
    def build() -> Any:
        raise AssertionError("built")

    pipeline = Pipeline("here", build, LIMITS, weigh=weigh)
    assert pipeline.flush(soon())
    assert pipeline.close(soon())
    assert not pipeline.busy


def test_a_span_leaves_by_itself_after_the_interval(make):
    inbox = Inbox()
    pipeline = make(inbox)
    pipeline.offer(1)
    eventually(lambda: inbox.items == [1])
    pipeline.offer(2)
    eventually(lambda: inbox.items == [1, 2])


def test_spans_wait_for_others_until_a_batch_is_full(make):
    inbox = Inbox()
    pipeline = make(inbox, batch_size=5, interval=3600)
    for number in range(4):
        pipeline.offer(number)
    eventually(lambda: pipeline._wake_at == 4)  # the worker has seen the first and waits for the fifth
    assert inbox.batches == []
    pipeline.offer(4)
    eventually(lambda: inbox.batches == [[0, 1, 2, 3, 4]])


def test_batches_are_bounded_by_count(make):
    inbox = Inbox()
    pipeline = make(inbox, batch_size=3)
    for number in range(10):
        pipeline.offer(number)
    assert pipeline.flush(soon())
    assert inbox.items == list(range(10))
    assert max(map(len, inbox.batches)) == 3


def test_batches_are_bounded_by_bytes_and_a_giant_goes_alone(make):
    inbox = Inbox()
    pipeline = make(inbox)
    sizes = [200_000, 200_000, 200_000, 10, 900_000, 10]
    for size in sizes:
        pipeline._queue.append(bytes(size))
    pipeline.offer(b"last")
    assert pipeline.flush(soon())
    assert [[len(item) for item in batch] for batch in inbox.batches] == [
        [200_000, 200_000], [200_000, 10], [900_000], [10, 4],
    ]  # fmt: skip


def test_the_newest_are_dropped_and_counted_where_the_queue_is_full(make):
    gate, entered = threading.Event(), threading.Event()
    inbox = Inbox(lambda _: entered.set() or (gate.wait() and DELIVERED))
    pipeline = make(inbox, capacity=10, batch_size=5)
    pipeline.offer("in flight")
    assert entered.wait(10)
    for number in range(15):
        pipeline.offer(number)
    assert balance(pipeline)["dropped"] == {"queue_full": 5}
    assert balance(pipeline)["queued"] == 11
    gate.set()
    assert pipeline.flush(soon())
    assert inbox.items == ["in flight", *range(10)]
    assert balance(pipeline) | {"worker": 0} == {
        "destination": "here", "produced": 16, "delivered": 11, "dropped": {"queue_full": 5}, "spooled": 0,
        "queued": 0, "worker": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("count", "size"), [(100, 1), (4, 6000)])
def test_a_recorded_span_weighs_what_its_tags_may_take_and_what_they_do_if_that_is_more(count, size):
    """Two small texts for its own, and one for each tag of up to 256 characters: three such spans fit here."""
    pipeline = Pipeline("here", Inbox, LIMITS._replace(size=3 * (256 * 102) + 100, interval=60))
    spans = []
    for _ in range(4):
        span = provider.get_tracer("test").start_span("a")
        span.set_attributes({f"key {number}": "x" * size for number in range(count)})
        span.end()
        spans.append(span)
    for span in spans:
        pipeline.offer(span)
    assert pipeline.stats()["dropped"] == {"queue_full": 1}
    assert span_weight(spans[0]) == pytest.approx(102, rel=0.05)
    assert pipeline.close(soon())


def test_the_queue_is_bounded_in_bytes_too_and_room_comes_back(make):
    gate, entered = threading.Event(), threading.Event()
    inbox = Inbox(lambda _: entered.set() or (gate.wait() and DELIVERED))
    pipeline = make(inbox, size=1000)
    pipeline.offer(b"in flight")
    assert entered.wait(10)
    for _ in range(6):
        pipeline.offer(bytes(300))
    assert pipeline.full is False
    pipeline.offer(bytes(100))
    assert pipeline.full is True
    pipeline.offer(b"1")
    assert balance(pipeline)["dropped"] == {"queue_full": 4}
    gate.set()
    assert pipeline.flush(soon())
    pipeline.offer(bytes(1000))
    assert pipeline.flush(soon())
    pipeline.offer(bytes(1001))
    assert balance(pipeline)["dropped"] == {"queue_full": 5}
    assert [len(item) for item in inbox.items] == [9, 300, 300, 300, 100, 1000]


def test_no_more_is_taken_out_of_the_queue_at_once_than_fits_into_memory_twice(make):
    turns, entered = threading.Semaphore(0), threading.Semaphore(0)
    inbox = Inbox(lambda _: entered.release() or (turns.acquire() and DELIVERED))
    pipeline = make(inbox)
    pipeline.offer(b"in flight")
    assert entered.acquire(timeout=10)
    for _ in range(20):
        pipeline.offer(bytes(1_000_000))
    turns.release()
    assert entered.acquire(timeout=10)
    assert len(pipeline._queue) == 20 - 4
    turns.release(100)
    assert pipeline.flush(soon())


def test_the_bytes_that_wait_are_known_however_the_queue_was_emptied(make):
    """All at once, batch by batch, and with some put back: at the end nothing waits, and as much fits as before."""
    pipeline = make(Inbox(), size=8_000_000)
    for size in (1, 1000, 3_000_000, 5_000_000):
        for _ in range(8_000_000 // size if size > 1 else 1500):
            pipeline.offer(bytes(size))
        assert pipeline.flush(soon())
    pipeline.offer(bytes(8_000_000))
    assert pipeline.flush(soon())
    assert balance(pipeline)["dropped"] == {}


def limited(most: int) -> Callable[[list[Any]], Outcome]:
    """Answer as a receiver that takes ``most`` bytes at once."""
    return lambda items: DELIVERED if sum(map(weigh, items)) <= most else Outcome("http_413", "413", too_large=True)


def test_a_batch_that_is_too_large_is_split_and_only_a_giant_is_lost(make):
    inbox = Inbox(limited(600))
    pipeline = make(inbox)
    sizes = [100, 200, 300, 400, 601, 500, 90, 80]
    for size in sizes:
        pipeline._queue.append(bytes(size))
    pipeline.offer(b"last")
    assert not pipeline.flush(soon())
    assert [len(item) for item in inbox.items] == [size for size in sizes if size != 601] + [4]
    assert balance(pipeline)["dropped"] == {"http_413": 1}


def test_later_batches_are_no_larger_than_what_was_taken(make):
    asked: list[int] = []

    def answer(items: list[Any]) -> Outcome:
        asked.append(sum(map(weigh, items)))
        return limited(10_000)(items)

    pipeline = make(Inbox(answer))
    for _ in range(64):
        pipeline.offer(bytes(1000))
    assert pipeline.flush(soon())
    assert max(asked) > 10_000
    asked.clear()
    for _ in range(64):
        pipeline.offer(bytes(1000))
    assert pipeline.flush(soon())
    assert max(asked) <= 10_000


def test_many_threads_lose_no_wake_up_and_the_ledger_holds_all_the_time(make):
    """Each round lets the worker fall asleep, then lets eight threads wake it at once; a lost signal hangs a round."""
    inbox = Inbox()
    pipeline = make(inbox, batch_size=7, interval=0)
    produced: list[int] = []
    sys_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for round_ in range(1, 151):
            start = threading.Barrier(8)

            def work() -> None:
                start.wait()  # noqa: B023 - the threads end within the round
                for number in range(20):
                    pipeline.offer(number)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                produced.append(balance(pipeline)["produced"])
            eventually(lambda: balance(pipeline)["delivered"] == round_ * 160)  # noqa: B023
    finally:
        sys.setswitchinterval(sys_interval)
    assert balance(pipeline)["produced"] == len(inbox.items) == 150 * 160
    assert produced == sorted(produced)
    assert len(inbox.threads) == 1


def test_a_span_that_comes_just_after_the_worker_found_the_queue_empty_wakes_it(make):
    inbox = Inbox()
    pipeline = make(inbox, interval=0)
    late = []

    class Watched(deque):
        def __bool__(self) -> bool:
            found = len(self) > 0
            if not found and late and sys._getframe(1).f_code.co_name == "_wait_for_spans":
                pipeline.offer(late.pop())
            return found

    pipeline._queue = pipeline.ledger._queue = Watched()
    pipeline.offer("first")
    for number in range(20):
        eventually(lambda: len(inbox.items) == number + 1)  # noqa: B023
        late.append(number)
        pipeline._wakeup.set()  # have it look
        eventually(lambda: not late)
    eventually(lambda: inbox.items == ["first", *range(20)])


def test_spans_are_counted_as_taken_under_the_lock_under_which_they_leave_the_queue(make):
    held = []

    class Watched(Ledger):
        @property
        def taken(self) -> int:
            return self.__dict__.get("taken", 0)

        @taken.setter
        def taken(self, count: int) -> None:
            held.append(not hasattr(self, "changed") or self.changed._is_owned())
            self.__dict__["taken"] = count

    pipeline = make(Inbox())
    pipeline.ledger = pipeline._delivery._ledger = Watched(pipeline._queue)
    pipeline.offer(1)
    assert pipeline.flush(soon())
    assert held == [True, True]


def test_counters_stay_exact_while_several_threads_read_them(make):
    pipeline = make(Inbox(lambda _: Outcome("no")), capacity=50)
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            balance(pipeline)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(20_000):
        pipeline.offer(number)
    over.set()
    for reader in readers:
        reader.join()
    pipeline.flush(soon())
    assert balance(pipeline)["produced"] == 20_000
    assert balance(pipeline)["queued"] == 0


def test_a_span_that_cannot_be_encoded_is_lost_alone(make):
    class Interrupted:
        def __call__(self) -> None:
            raise SystemExit(5)

    inbox = Inbox()
    pipeline = make(inbox)
    pipeline._queue.extend([1, lambda: 1 / 0, 2, Interrupted()])
    pipeline.offer(3)
    assert not pipeline.flush(soon())
    assert inbox.items == [1, 2, 3]
    assert balance(pipeline)["dropped"] == {"unencodable": 2}


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_exporter_that_raises_loses_its_batch_and_the_worker_goes_on(make, error):
    def answer(items: list[Any]) -> Outcome:
        if "bad" in items:
            raise error
        return DELIVERED

    inbox = Inbox(answer)
    pipeline = make(inbox)
    pipeline.offer("bad")
    assert not pipeline.flush(soon())
    pipeline.offer("good")
    assert pipeline.flush(soon())
    assert inbox.items == ["good"]
    assert balance(pipeline)["dropped"] == {"exporter_error": 1}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_exporter_that_raises_loses_no_other_batch_of_those_that_were_taken_together(make, error):
    def answer(items: list[Any]) -> Outcome:
        if items[0][:1] == b"2":
            raise error
        return DELIVERED

    inbox = Inbox(answer)
    pipeline = make(inbox)
    pipeline._queue.extend([b"1" * 300_000, b"2" * 300_000])
    pipeline.offer(b"3" * 300_000)
    assert not pipeline.flush(soon())
    assert [item[:1] for item in inbox.items] == [b"1", b"3"]
    assert balance(pipeline)["dropped"] == {"exporter_error": 1}


@pytest.mark.parametrize("error", [ImportError, SystemExit])
def test_an_exporter_that_cannot_be_built_loses_spans_and_is_tried_again(error):
    inbox = Inbox()
    tries = []

    def build() -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise error
        return inbox

    pipeline = Pipeline("here", build, LIMITS, weigh=weigh)
    pipeline.offer("lost")
    assert not pipeline.flush(soon())
    pipeline.offer("kept")
    assert pipeline.flush(soon())
    assert inbox.items == ["kept"]
    assert balance(pipeline)["dropped"] == {"exporter_error": 1}
    assert pipeline.close(soon())


def test_an_exporter_that_raises_while_closing_is_survived(make):
    inbox = Inbox()
    inbox.close = lambda: sys.exit(3)
    pipeline = make(inbox)
    pipeline.offer(1)
    assert pipeline.close(soon())
    assert not pipeline.busy


def test_what_may_succeed_later_is_tried_again_until_it_does(make):
    outcomes = iter([Outcome("http_503", "", True), Outcome(UNREACHABLE, "", True), DELIVERED])
    inbox = Inbox(lambda _: next(outcomes))
    pipeline = make(inbox)
    pipeline.offer(1)
    eventually(lambda: inbox.items == [1])
    eventually(lambda: balance(pipeline)["delivered"] == 1)
    assert balance(pipeline)["dropped"] == {}


def test_a_refusal_for_good_is_not_tried_again_and_counted_under_its_reason(make):
    inbox = Inbox(lambda _: Outcome("http_400", "bad"))
    pipeline = make(inbox)
    pipeline.offer(1)
    assert not pipeline.flush(soon())
    assert len(inbox.deadlines) == 1
    assert balance(pipeline)["dropped"] == {"http_400": 1}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_recovery_tells_how_many_were_lost_meanwhile(make, caplog):
    caplog.set_level("INFO", "obskit")
    outcomes = iter([Outcome("http_503", "503", True), DELIVERED, DELIVERED])
    gate, again = threading.Event(), threading.Event()

    def answer(_: list[Any]) -> Outcome:
        if caplog.records:
            again.set()
            gate.wait()
        return next(outcomes)

    pipeline = make(Inbox(answer))
    pipeline.set_limits(LIMITS._replace(capacity=3))
    pipeline.offer(1)
    assert again.wait(10)
    for number in range(5):
        pipeline.offer(number)
    gate.set()
    eventually(lambda: pipeline.ledger.delivered == 4)
    assert told(caplog) == [
        "WARNING 1 span could not be delivered to here (503); it is kept and sent again",
        "WARNING spans are delivered to here again; 2 were lost meanwhile",
    ]
    assert balance(pipeline)["dropped"] == {"queue_full": 2}


def test_what_was_to_be_sent_again_and_is_lost_at_the_end_is_told(make, caplog):
    pipeline = make(Inbox(lambda _: Outcome("http_503", "503", True)))
    pipeline.offer(1)
    eventually(lambda: caplog.records)
    assert not pipeline.close(soon(0.5))
    assert told(caplog) == [
        "WARNING 1 span could not be delivered to here (503); it is kept and sent again",
        "WARNING 1 span for here could not be sent again in time (503): lost",
    ]


def test_what_cannot_be_sent_again_is_told_to_be_lost_at_once(make, caplog):
    pipeline = make(Inbox(lambda _: Outcome(UNREACHABLE, "refused", True)), interval=60.0)
    pipeline.offer(1)
    assert not pipeline.close(soon())
    assert told(caplog) == ["WARNING 1 span could not be delivered to here (refused); it is lost"]


def test_a_batch_is_given_up_when_it_would_take_too_long(make):
    """A wait of 61 seconds ends after the minute for which a batch is tried."""
    inbox = Inbox(lambda _: Outcome("http_429", "", True, 61.0))
    pipeline = make(inbox)
    pipeline.offer(1)
    assert not pipeline.flush(soon())
    assert balance(pipeline)["dropped"] == {"http_429": 1}


def test_one_attempt_may_take_the_timeout(make):
    inbox = Inbox()
    pipeline = make(inbox, timeout=7.0)
    before = time.monotonic()
    pipeline.offer(1)
    assert pipeline.flush(soon())
    assert before + 7 <= inbox.deadlines[0] <= time.monotonic() + 7


def test_flush_is_over_at_its_deadline_where_the_receiver_hangs_and_the_span_stays_queued(make):
    gate = threading.Event()
    inbox = Inbox(lambda _: gate.wait() and DELIVERED)
    pipeline = make(inbox)
    pipeline.offer(1)
    start = time.monotonic()
    assert not pipeline.flush(start + 0.2)
    assert time.monotonic() >= start + 0.2
    assert balance(pipeline)["queued"] == 1
    gate.set()
    assert pipeline.flush(soon())
    assert inbox.items == [1]


def test_flush_does_not_wait_for_the_interval_nor_for_spans_that_come_later(make):
    inbox = Inbox()
    pipeline = make(inbox, interval=3600)
    pipeline.offer(1)
    eventually(lambda: pipeline._wake_at == 999)  # the worker waits for more
    assert pipeline.flush(soon())
    gate = threading.Event()
    inbox.answer = lambda items: gate.wait() and DELIVERED if "late" in items else DELIVERED
    pipeline.offer("late")
    try:
        assert not pipeline.flush(soon(0.05))
    finally:
        gate.set()


def test_flush_tries_at_once_what_waits_for_its_next_attempt(make):
    outcomes = iter([Outcome("http_503", "", True), Outcome("http_503", "", True)])
    inbox = Inbox(lambda _: next(outcomes, DELIVERED))
    pipeline = make(inbox)
    pipeline.pause = lambda seconds, firm: Pipeline.pause(pipeline, 3600, firm)
    pipeline.offer(1)
    eventually(lambda: len(inbox.deadlines) == 1)
    assert not pipeline.flush(soon(0.1))
    assert pipeline.flush(soon())
    assert inbox.items == [1]


def test_flush_leaves_a_pause_that_the_receiver_asked_for(make):
    inbox = Inbox(lambda _: Outcome("http_429", "", True, 20.0))
    pipeline = make(inbox)
    pipeline.offer(1)
    eventually(lambda: len(inbox.deadlines) == 1)
    assert not pipeline.flush(soon(0.1))
    assert len(inbox.deadlines) == 1


def test_close_cuts_a_pause_short_and_delivers(make):
    outcomes = iter([Outcome("http_429", "", True, 20.0)])
    inbox = Inbox(lambda _: next(outcomes, DELIVERED))
    pipeline = make(inbox)
    pausing = threading.Event()
    pause = pipeline.pause
    pipeline.pause = lambda seconds, firm: pausing.set() or pause(seconds, firm)
    pipeline.offer(1)
    assert pausing.wait(10)
    assert pipeline.close(soon())
    assert inbox.items == [1]


def test_close_delivers_closes_the_exporter_once_and_ends_the_thread(make):
    inbox = Inbox()
    pipeline = make(inbox, interval=3600)
    pipeline.offer(1)
    assert pipeline.close(soon())
    assert (inbox.items, inbox.closed, pipeline.busy) == ([1], 1, False)
    assert pipeline.close(soon())
    assert inbox.closed == 1


def test_spans_offered_after_close_are_dropped_and_counted(make):
    inbox = Inbox()
    pipeline = make(inbox)
    pipeline.close(soon())
    pipeline.offer(1)
    assert balance(pipeline)["dropped"] == {"shutdown": 1}
    assert not pipeline.busy
    assert inbox.items == []


def test_close_waits_for_nobody_where_nobody_listens(make):
    inbox = Inbox(lambda _: Outcome(UNREACHABLE, "refused", True))
    pipeline = make(inbox)
    for number in range(10):
        pipeline.offer(number)
    far = time.monotonic() + 3600
    assert not pipeline.close(far)
    assert balance(pipeline)["dropped"] == {UNREACHABLE: 10}
    assert not pipeline.busy
    assert len(inbox.deadlines) <= 2


def test_attempts_made_while_closing_end_at_the_closing_deadline(make):
    inbox = Inbox()
    pipeline = make(inbox, interval=3600)
    pipeline.offer(1)
    deadline = soon(3)
    assert pipeline.close(deadline)
    assert inbox.deadlines == [deadline]


def test_a_span_that_comes_while_the_worker_leaves_is_not_forgotten(make):
    inbox = Inbox()
    pipeline = make(inbox)
    late = [2]
    inbox.close = lambda: late and pipeline._queue.append(late.pop())  # by a thread that looked at ``closed`` before
    pipeline.offer(1)
    assert pipeline.close(soon())
    eventually(lambda: inbox.items == [1, 2])
    eventually(lambda: balance(pipeline)["delivered"] == 2)


def test_reconfiguring_loses_nothing_that_is_in_flight(make):
    gate, entered = threading.Event(), threading.Event()
    inbox = Inbox(lambda _: entered.set() or (gate.wait() and DELIVERED))
    pipeline = make(inbox)
    pipeline.offer(1)
    assert entered.wait(10)
    pipeline.offer(2)
    pipeline.begin_close(soon())
    assert pipeline.busy
    gate.set()
    eventually(lambda: not pipeline.busy)
    assert inbox.items == [1, 2]


def test_a_finaliser_run_by_the_garbage_collector_may_end_spans_anywhere(make):
    """A collection is forced on each line of ours, on both threads, and each ends a span of its own."""
    inbox = Inbox()
    pipeline = make(inbox, batch_size=10)
    ended = []

    class Finalised:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            ended.append(1)
            pipeline.offer("finalised")

    def collect(frame: Any, _event: str, _argument: Any) -> Any:
        if "obskit" in frame.f_code.co_filename and len(ended) < 1000:
            Finalised()
            gc.collect(0)
        return collect

    inbox.answer = lambda _: sys.settrace(collect) or DELIVERED  # the worker's thread too
    sys.settrace(collect)
    try:
        for number in range(30):
            pipeline.offer(number)
            pipeline.flush(soon())
            pipeline.stats()
    finally:
        sys.settrace(None)
        inbox.answer = lambda _: sys.settrace(None) or DELIVERED
    gc.collect()
    assert pipeline.flush(soon())
    assert balance(pipeline)["produced"] == 30 + len(ended)
    assert len(ended) >= 1000


def test_signal_handlers_may_end_spans_flush_and_read_counters_anywhere(make):
    inbox = Inbox()
    pipeline = make(inbox, batch_size=10)
    handled, running = [], []

    def handler(*_: Any) -> None:
        if len(running) == 20:  # where a flush takes longer than the interval, each interrupts the one before
            return
        handled.append(1)
        running.append(1)
        pipeline.offer("from the handler")
        pipeline.stats()
        pipeline.flush(soon())
        running.pop()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    offered = 0
    try:
        while len(handled) < 200:
            pipeline.offer(offered)
            offered += 1
            if offered % 10 == 0:
                assert pipeline.stats()["produced"]
                pipeline.flush(soon())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert pipeline.flush(soon())
    assert balance(pipeline)["produced"] == offered + len(handled)
    assert balance(pipeline)["delivered"] == offered + len(handled)


def test_a_span_may_end_while_the_threading_module_holds_its_own_lock(make):
    """A finaliser can run inside Thread.start(); starting our worker there must not ask for the same lock."""
    inbox = Inbox()
    pipeline = make(inbox)
    with threading._active_limbo_lock:
        pipeline.offer(1)
    eventually(lambda: inbox.items == [1])


def test_where_no_thread_can_be_started_flush_delivers_by_itself(make, monkeypatch):
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    inbox = Inbox()
    pipeline = make(inbox)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        pipeline.offer(1)
        assert balance(pipeline)["queued"] == 1
        assert pipeline.flush(soon())
        assert inbox.threads == {threading.get_ident()}
    pipeline.offer(2)
    eventually(lambda: inbox.items == [1, 2])
    assert len(inbox.threads) == 2


def test_where_no_thread_can_be_started_flush_keeps_its_deadline(make, monkeypatch):
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    inbox = Inbox(lambda _: Outcome("http_503", "", True))
    pipeline = make(inbox)
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    pipeline.offer(1)
    deadline = soon(0.3)
    assert not pipeline.flush(deadline)
    assert inbox.deadlines[0] == deadline
    assert balance(pipeline)["dropped"] == {"http_503": 1}


def test_threads_exhausted_by_the_system_are_survived():
    code = """
import resource, threading, time
from tests.export.delivery.test_pipeline import Inbox, LIMITS, Pipeline, soon
inbox = Inbox()
pipeline = Pipeline("here", lambda: inbox, LIMITS, weigh=lambda item: 10)
resource.setrlimit(resource.RLIMIT_AS, (0, resource.getrlimit(resource.RLIMIT_AS)[1]))  # no stack for a thread
pipeline.offer(1)
busy = pipeline.busy
print(busy, pipeline.flush(soon()), inbox.items)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "False True [1]\n", done.stderr
