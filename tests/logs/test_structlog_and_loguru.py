"""structlog and loguru write the same JSON, with the real packages."""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager

import loguru
import pytest
import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

import obskit
from obskit.logs.loguru import sink
from obskit.logs.structlog import CloudLoggingRenderer, add_trace
from obskit.testing import recording

from .test_formatter import P, strict

PLACE = [CallsiteParameter.PATHNAME, CallsiteParameter.LINENO, CallsiteParameter.FUNC_NAME]  # all of them need 3.11


@contextmanager
def traced():
    """A span to log in."""
    with recording() as spans:
        with obskit.span("work") as span:
            yield span
        spans.take()


@pytest.fixture
def events():
    """A structlog logger and what it wrote."""
    out = io.StringIO()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            CallsiteParameterAdder(PLACE),
            CloudLoggingRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    yield structlog.get_logger("orders").bind(tier="gold"), lambda: strict(out.getvalue().splitlines()[-1])
    structlog.reset_defaults()


def test_a_structlog_event_has_cloud_loggings_fields(events):
    log, last = events
    with traced() as span:
        log.warning("shipped", order=7, name="a field, not the logger", password="x")
    entry = last()
    assert (entry["severity"], entry["message"], entry["order"], entry["tier"]) == ("WARNING", "shipped", 7, "gold")
    assert entry["name"] == "a field, not the logger"
    assert entry["password"] == "[masked]"
    assert entry[P + "trace"] == span.trace_id
    assert entry[P + "sourceLocation"]["function"] == "test_a_structlog_event_has_cloud_loggings_fields"


@pytest.mark.parametrize("how", [True, "instance", "method"])
def test_a_structlog_exception_has_its_traceback(events, how):
    log, last = events
    try:
        raise ValueError("bad")
    except ValueError as error:
        if how == "method":
            log.exception("failed")
        else:
            log.error("failed", exc_info=True if how is True else error)
    assert last()["stack_trace"].endswith("ValueError: bad")
    assert last()["severity"] == "ERROR"


def test_a_percent_sign_in_an_event_is_text(events):
    log, last = events
    log.info("100%s sure %d")
    assert last()["message"] == "100%s sure %d"


def last_of(**configured):
    """Return what structlog wrote last, as the only thing it wrote."""
    out = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(out), cache_logger_on_first_use=False, **configured)
    return lambda: strict(out.getvalue().removesuffix("\n"))


@pytest.mark.parametrize("place", [{}, {"pathname": "shop.py", "lineno": 7, "func_name": "ship"}])
def test_without_callsite_parameters_there_is_no_location_rather_than_an_empty_one(place):
    last = last_of(processors=[structlog.processors.add_log_level, CloudLoggingRenderer()])
    alike = {P + "sourceLocation": {"file": "", "line": "0", "function": None}, "n": 1}
    structlog.get_logger().info("shipped", order=alike, **place)
    structlog.reset_defaults()
    entry = last()
    assert entry.get(P + "sourceLocation") == ({"file": "shop.py", "line": "7", "function": "ship"} if place else None)
    assert entry["order"] == alike
    assert (entry["severity"], entry["logger"]) == ("INFO", "structlog")


def test_a_bound_logger_name_is_the_loggers():
    last = last_of(processors=[CloudLoggingRenderer()])
    structlog.get_logger().bind(logger="orders").info("shipped")
    structlog.reset_defaults()
    assert last()["logger"] == "orders"


@pytest.mark.parametrize("processors", [[], [structlog.stdlib.add_logger_name]])
def test_a_logger_of_the_standard_librarys_gives_its_own_name(processors, capfd):
    log = structlog.wrap_logger(logging.Logger("orders"), processors=[*processors, CloudLoggingRenderer()])  # noqa: LOG001
    log.warning("shipped")
    assert strict(capfd.readouterr().err.removesuffix("\n"))["logger"] == "orders"


def test_add_trace_serves_other_renderers():
    with traced() as span:
        assert add_trace(None, "info", {"event": "x"})["trace_id"] == span.trace_id
    assert add_trace(None, "info", {"event": "x"}) == {"event": "x"}


def test_a_loguru_message_has_cloud_loggings_fields(capfd):
    log = loguru.logger
    log.remove()
    log.add(sink)
    with traced() as span:
        log.bind(order=7).warning("shipped {}", "now")
    entry = strict(capfd.readouterr().out.splitlines()[-1])
    assert (entry["severity"], entry["message"], entry["order"]) == ("WARNING", "shipped now", 7)
    assert entry[P + "trace"] == span.trace_id
    assert entry[P + "sourceLocation"]["function"] == "test_a_loguru_message_has_cloud_loggings_fields"
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("failed")
    entry = strict(capfd.readouterr().out.splitlines()[-1])
    assert entry["stack_trace"].endswith("ValueError: bad")
    log.success("done")
    assert strict(capfd.readouterr().out.splitlines()[-1])["severity"] == "NOTICE"
    log.remove()


@pytest.fixture
def lines(capfd):
    """loguru with our sink behind its queue; ``lines(...)`` logs within a span, and returns the entry and the span."""
    log = loguru.logger

    def write(act, **options):
        log.remove()
        log.add(sink, enqueue=True, **options)
        with traced() as span, obskit.log_context(tenant="acme"):
            act(log)
        log.complete()
        (line,) = capfd.readouterr().out.splitlines()
        return strict(line), span

    yield write
    log.remove()
    log.configure(patcher=lambda record: None)


def failing(log):
    """Log an exception."""
    try:
        raise ValueError("bad")
    except ValueError:
        log.bind(order=7).exception("not {}", "shipped")


def within(log):
    """Log with fields of all sorts that loguru has."""
    with log.contextualize(order=7):
        log.patch(lambda record: record["extra"].update(region="eu")).opt(colors=True).error("not <red>shipped</red>")


@pytest.mark.parametrize("act", [failing, within])
@pytest.mark.parametrize(
    "options", [{}, {"serialize": True}, {"diagnose": True, "backtrace": True}, {"format": "{message}"}]
)
def test_a_loguru_line_behind_a_queue_is_of_where_it_was_logged(lines, act, options):
    loguru.logger.configure(patcher=lambda record: record["extra"].update(host="h"))
    entry, span = lines(act, **options)
    assert (entry["severity"], entry["message"], entry["order"]) == ("ERROR", "not shipped", 7)
    assert (entry["tenant"], entry["host"], entry[P + "trace"]) == ("acme", "h", span.trace_id)
    assert entry["thread"] == "MainThread"
    if act is failing:
        assert "in failing" in entry["stack_trace"]
        assert entry["stack_trace"].endswith("ValueError: bad")
    else:
        assert entry["region"] == "eu"


def test_a_loguru_exception_that_was_given_is_the_lines(lines):
    entry, _ = lines(lambda log: log.opt(exception=ValueError("bad")).error("x"))
    assert entry["stack_trace"] == "ValueError: bad"


def test_other_sinks_of_loguru_get_what_they_always_got(tmp_path):
    log, seen = loguru.logger, []
    log.remove()
    log.add(tmp_path / "log", enqueue=True, format="{message}")
    log.add(seen.append, format="{message}")
    log.add(sink, enqueue=True, filter=lambda record: False)
    log.info("shipped")
    log.complete()
    log.remove()
    assert (tmp_path / "log").read_text() == "shipped\n"
    assert seen == ["shipped\n"]
    assert "obskit_line" not in seen[0].record
