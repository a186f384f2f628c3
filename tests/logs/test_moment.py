"""A line belongs to where it was logged, however long its record waits, and whoever writes it."""

from __future__ import annotations

import contextvars
import logging
import logging.handlers
import pickle
import queue
from contextlib import contextmanager

import pytest

import obskit

from .test_events import logs, strict
from .test_formatter import P


class Plain(logging.handlers.QueueHandler):
    """As the logging cookbook has it, within one process."""

    def prepare(self, record):
        return record


class Pickling(logging.handlers.QueueHandler):
    """As between processes."""

    def enqueue(self, record):
        self.queue.put(pickle.loads(pickle.dumps(record)))


class Formatting(logging.handlers.QueueHandler):
    def prepare(self, record):
        record.msg, record.args = self.format(record), None
        return record


class Emitting(logging.handlers.QueueHandler):
    def emit(self, record):
        self.queue.put_nowait(record)


class Keeping(logging.handlers.BufferingHandler):
    """Hands its records on when it is flushed, as a target for MemoryHandler would."""

    def flush(self):
        for record in self.buffer:
            logging.root.handlers[0].handle(record)
        self.buffer.clear()


QUEUES = [logging.handlers.QueueHandler, Plain, Pickling, Formatting, Emitting]


@contextmanager
def request(number):
    """Have a trace and a field of its own."""
    with obskit.continue_trace({"b3": f"{number:032x}-{number:016x}-1"}), obskit.log_context(order=number):
        yield


def work(log, number):
    """Log a line in a request; return what it belongs to."""
    with request(number):
        log.info("in %s", number)
    return f"in {number}", f"{number:032x}", f"{number:016x}", number


def belongs(line):
    entry = strict(line)
    return entry["message"], entry[P + "trace"], entry[P + "spanId"], entry["order"]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("kind", QUEUES)
def test_a_line_behind_a_queue_has_the_trace_and_the_fields_of_where_it_was_logged(kind, early):
    waiting = queue.Queue()
    handler = kind(waiting)
    log = logging.getLogger("queued")
    log.propagate = False
    if early:
        log.addHandler(handler)
    with logs() as (console, _, lines):
        if not early:
            log.addHandler(handler)
        expected = [work(log, number) for number in (1, 2)]
        listener = logging.handlers.QueueListener(waiting, console)
        listener.start()
        listener.stop()
        found = [belongs(line) for line in lines()]
    log.removeHandler(handler)
    log.propagate = True
    assert found == expected


@pytest.mark.parametrize("kind", ["memory", "buffering"])
def test_a_line_in_a_buffer_has_the_trace_and_the_fields_of_where_it_was_logged(kind):
    log = logging.getLogger("buffered")
    log.propagate = False
    with logs() as (console, _, lines):
        handler = logging.handlers.MemoryHandler(100, target=console) if kind == "memory" else Keeping(100)
        log.addHandler(handler)
        expected = [work(log, number) for number in (1, 2)]
        with request(3):
            log.removeHandler(handler)
            handler.flush()
        found = [belongs(line) for line in lines()]
        handler.close()
    log.propagate = True
    assert found == expected


def test_a_line_outside_of_traces_does_not_get_the_trace_of_who_flushes():
    record = logging.makeLogRecord({"msg": "outside", "levelno": 20, "levelname": "INFO"})
    with logs() as (console, _, lines):
        handler = logging.handlers.MemoryHandler(100, target=console)
        contextvars.Context().run(handler.handle, record)
        with request(3):
            handler.flush()
        handler.close()
        (entry,) = map(strict, lines())
    assert entry["message"] == "outside"
    assert not {P + "trace", P + "spanId", "order"} & set(entry)


def test_a_record_that_waits_twice_keeps_the_moment_of_the_first():
    first, second = queue.Queue(), queue.Queue()
    log = logging.getLogger("twice")
    log.propagate = False
    with logs() as (console, _, lines):
        handler = logging.handlers.QueueHandler(first)
        log.addHandler(handler)
        expected = work(log, 1)
        with request(3):
            logging.handlers.QueueHandler(second).handle(first.get())
        console.handle(second.get())
        found = [belongs(line) for line in lines()]
    log.removeHandler(handler)
    log.propagate = True
    assert found == [expected]
