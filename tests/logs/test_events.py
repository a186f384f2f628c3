"""structlog's events come out whole by every way there is: message, severity, traceback, fields and trace."""

from __future__ import annotations

import asyncio
import io
import logging
import logging.handlers
import pickle
import queue
import sys
from contextlib import contextmanager

import pytest
import structlog
from structlog import processors, stdlib
from structlog.stdlib import ProcessorFormatter

import obskit
from obskit.logs.cloud.entry import to_entry
from obskit.logs.console import ConsoleFormatter
from obskit.logs.entry import EntryBuilder
from obskit.logs.events import RenderedLine
from obskit.logs.formatter import CloudLoggingFormatter
from obskit.logs.setup import LogOptions, LogSetup
from obskit.logs.structlog import CloudLoggingRenderer

from .test_formatter import P, strict
from .test_structlog_and_loguru import traced

OPTIONS = LogOptions("json", "shop", None, None, ("password",), False, 5.0)


@pytest.fixture(autouse=True)
def reset():
    """Leave no configuration behind."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail(log, **fields):
    """Log an event within an except block."""
    try:
        try:
            raise KeyError("order")
        except KeyError as error:
            raise ValueError("bad") from error
    except ValueError:
        log.exception("not shipped", order=8, password="hunter2", **fields)


def check(entry, span):
    """Check that an entry holds all of what ``fail`` logs."""
    assert (entry["severity"], entry["message"], entry["order"]) == ("ERROR", "not shipped", 8)
    assert entry["password"] == "[masked]"
    assert "in fail" in entry["stack_trace"]
    assert entry["stack_trace"].endswith("ValueError: bad")
    assert "KeyError: 'order'\n\nThe above exception was the direct cause" in entry["stack_trace"]
    assert entry[P + "trace"] == span.trace_id
    assert not {"_record", "_logger", "_name", "_from_structlog", "event", "level", "exc_info"} & set(entry)


EXCEPTIONS = [
    [],
    [processors.format_exc_info],
    [processors.dict_tracebacks],
    [processors.dict_tracebacks, processors.StackInfoRenderer()],
    [processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=True))],
    [processors.UnicodeDecoder(), processors.format_exc_info, processors.EventRenamer("message")],
    [processors.TimeStamper(), processors.format_exc_info, processors.EventRenamer("msg")],
]


@contextmanager
def printed(*chain):
    """Configure structlog to print; give what is printed."""
    out = io.StringIO()
    factory = structlog.PrintLoggerFactory(out)
    structlog.configure([*chain, CloudLoggingRenderer()], logger_factory=factory)
    with traced() as span:
        yield span, lambda: strict(out.getvalue().removesuffix("\n"))


@pytest.mark.parametrize("chain", EXCEPTIONS)
@pytest.mark.parametrize("level", [[processors.add_log_level], [stdlib.add_log_level_number], []])
def test_the_renderer_takes_whatever_became_of_an_exception(chain, level):
    with printed(*level, *chain) as (span, last):
        fail(structlog.get_logger())
        check(last(), span)


@pytest.mark.parametrize("exception", [{"type": "ValueError"}, ["x"], [], 5, object()])
def test_an_exception_in_a_form_that_nobody_knows_is_a_field(exception):
    with printed() as (_, last):
        structlog.get_logger().error("not shipped", exception=exception, order=8)
    entry = last()
    assert (entry["message"], entry["order"], "exception_" in entry) == ("not shipped", 8, True)


LEVELS = [(40, "ERROR"), ("40", "ERROR"), (logging.CRITICAL, "CRITICAL"), ("warn", "WARNING"), ("WARNING", "WARNING")]
LEVELS += [
    ("notice", "NOTICE"),
    ("fatal", "CRITICAL"),
    ("no such", "INFO"),
    (None, "INFO"),
    (object(), "INFO"),
    (25, "NOTICE"),
]


@pytest.mark.parametrize("number", range(len(LEVELS)))
def test_a_level_may_be_a_name_or_a_number(number):
    level, severity = LEVELS[number]
    with printed() as (_, last):
        structlog.get_logger().info("x", level=level)
    assert last()["severity"] == severity


def test_a_stack_that_was_asked_for_is_there():
    with printed() as (_, last):
        structlog.get_logger().info("x", stack_info=True)
    stack = last()["stack_trace"]
    assert stack.startswith("Stack (most recent call last):")
    assert 'structlog.get_logger().info("x", stack_info=True)' in stack.splitlines()[-1] + stack.splitlines()[-2]


@pytest.mark.parametrize("factory", [structlog.PrintLoggerFactory, structlog.WriteLoggerFactory])
def test_a_stream_that_takes_ascii_only_gets_all_of_it(factory):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    structlog.configure([CloudLoggingRenderer()], logger_factory=factory(out))
    structlog.get_logger().info("Grüße \U0001f600 \u2028", city="Zürich")
    entry = strict(out.buffer.getvalue().decode("ascii").removesuffix("\n"))
    assert (entry["message"], entry["city"]) == ("Grüße \U0001f600 \u2028", "Zürich")


def test_a_logger_of_bytes_gets_bytes():
    out = io.BytesIO()
    structlog.configure([CloudLoggingRenderer()], logger_factory=structlog.BytesLoggerFactory(out))
    structlog.get_logger().info("Grüße")
    assert strict(out.getvalue().decode("ascii").removesuffix("\n"))["message"] == "Grüße"


def test_what_is_logged_from_a_task_is_complete():
    async def work():
        try:
            raise ValueError("bad") from KeyError("order")
        except ValueError:
            await structlog.get_logger().aexception("not shipped", order=8, password="hunter2")

    with printed(structlog.contextvars.merge_contextvars) as (span, last), obskit.log_context(tenant="acme"):
        asyncio.run(work())
    entry = last()
    assert entry[P + "trace"] == span.trace_id
    assert (entry["tenant"], entry["order"], entry["severity"]) == ("acme", 8, "ERROR")
    assert entry["stack_trace"].endswith("ValueError: bad")


def test_the_renderer_never_raises():
    class Odd:
        name = property(lambda self: 1 / 0)

    line = CloudLoggingRenderer()(Odd(), "info", {"event": "x"})
    assert strict(line)["message"] == "[not rendered]"


# Through the standard library


class StandardOutput(io.StringIO):
    """Keeps what the process would write to its standard output."""

    def fileno(self) -> int:
        return 1


@contextmanager
def logs(mode="json"):
    """Take logging over for a root logger whose handler writes to standard output; give its handler."""
    root = logging.getLogger()
    before, level, out = root.handlers[:], root.level, sys.stdout
    sys.stdout = StandardOutput()
    handler = logging.StreamHandler(sys.stdout)
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    setup = LogSetup()
    setup.apply(OPTIONS._replace(mode=mode))
    try:
        with traced() as span:
            yield handler, span, lambda: sys.stdout.getvalue().splitlines()
    finally:
        setup.remove()
        root.handlers[:] = before
        root.setLevel(level)
        sys.stdout = out


SHARED = [
    structlog.contextvars.merge_contextvars,
    stdlib.add_log_level,
    stdlib.add_logger_name,
    processors.TimeStamper(),
]


def through_the_standard_library(handler, *chain, **given):
    """Configure structlog as its documentation does for ``ProcessorFormatter``."""
    structlog.configure(
        [*SHARED, ProcessorFormatter.wrap_for_formatter],
        logger_factory=stdlib.LoggerFactory(),
        wrapper_class=stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    chain = (ProcessorFormatter.remove_processors_meta, *chain, processors.JSONRenderer())
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=[*SHARED, stdlib.ExtraAdder()], processors=chain, **given)
    )


@pytest.mark.parametrize("chain", EXCEPTIONS)
@pytest.mark.parametrize("given", [{}, {"keep_exc_info": True, "keep_stack_info": True}, {"pass_foreign_args": True}])
def test_an_event_through_the_standard_library_is_whole(chain, given):
    with logs() as (handler, span, lines):
        through_the_standard_library(handler, *chain, **given)
        fail(structlog.get_logger("orders"))
        (line,) = lines()
    entry = strict(line)
    check(entry, span)
    assert entry["logger"] == "orders"


def test_what_the_programs_processors_add_and_remove_counts():
    def change(_logger, _method, event):
        event.pop("card")
        return {**event, "region": "eu"}

    with logs() as (handler, _, lines):
        through_the_standard_library(handler, change)
        structlog.contextvars.bind_contextvars(request="r1")
        structlog.get_logger("orders").info("charged", card="4111", order=8)
        logging.getLogger("lib").warning("slow %s", "query", extra={"card": "4112", "seconds": 2})
        ours, theirs = map(strict, lines())
    assert (ours["message"], ours["order"], ours["region"], ours["request"]) == ("charged", 8, "eu", "r1")
    assert (theirs["message"], theirs["seconds"], theirs["region"], theirs["request"]) == ("slow query", 2, "eu", "r1")
    assert (ours["severity"], theirs["severity"], theirs["logger"]) == ("INFO", "WARNING", "lib")
    assert "4111" not in str(ours)


@pytest.mark.parametrize("odd", [lambda *_: 1 / 0, lambda *_: "text", processors.JSONRenderer()])
def test_processors_that_fail_cost_nothing_of_the_event(odd, caplog):
    with logs() as (handler, span, lines):
        through_the_standard_library(handler, odd)
        fail(structlog.get_logger("orders"))
        check(strict(lines()[-1]), span)


@pytest.mark.parametrize("wrapper", [stdlib.BoundLogger, structlog.make_filtering_bound_logger(10)])
def test_our_renderer_in_loggers_of_the_standard_librarys_makes_one_line(wrapper):
    with logs() as (_, span, lines):
        structlog.configure([*SHARED, CloudLoggingRenderer()], wrapper, logger_factory=stdlib.LoggerFactory())
        fail(structlog.get_logger("orders"))
        (line,) = lines()
    check(strict(line), span)


def test_the_console_shows_the_event_and_not_its_line():
    with logs("console") as (_, _span, lines):
        structlog.configure([CloudLoggingRenderer()], logger_factory=stdlib.LoggerFactory())
        structlog.get_logger("orders").warning("low stock", order=8)
        (line,) = lines()
    assert "orders: low stock order=8" in line


def test_an_event_behind_a_queue_is_an_event():
    waiting = queue.Queue()
    with logs() as (handler, span, lines):
        logging.getLogger().handlers[:] = [logging.handlers.QueueHandler(waiting)]
        structlog.configure(
            [*SHARED, CloudLoggingRenderer()], stdlib.BoundLogger, logger_factory=stdlib.LoggerFactory()
        )
        structlog.get_logger("orders").warning("low stock", order=8)
        handler.handle(waiting.get())
        entry = strict(lines()[-1])
    assert (entry["message"], entry["order"], entry["severity"]) == ("low stock", 8, "WARNING")
    assert entry[P + "trace"] == span.trace_id


def test_a_line_is_plain_text_for_whoever_does_not_know_it():
    line = CloudLoggingRenderer()(None, "info", {"event": "x", "order": 8})
    assert type(line) is RenderedLine
    assert strict(str(line))["order"] == 8
    assert pickle.loads(pickle.dumps(line)).event == line.event
    record = logging.makeLogRecord({"msg": line, "levelno": 20, "levelname": "INFO"})
    assert strict(logging.Formatter().format(record))["order"] == 8
    assert to_entry(CloudLoggingFormatter(EntryBuilder()).format(record).encode(), "p")["jsonPayload"]["order"] == 8
    assert "x order=8" in ConsoleFormatter(EntryBuilder(), colour=False).format(record)
