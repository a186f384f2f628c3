"""Whoever looks for the caller of a log call finds the application's line, whatever of ours stands in between."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import sys
import warnings

import pytest
import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder, JSONRenderer
from structlog.stdlib import ProcessorFormatter

from .test_events import logs, through_the_standard_library

SITE = CallsiteParameterAdder([CallsiteParameter.FILENAME, CallsiteParameter.FUNC_NAME])
HERE = ("test_frames.py", "log")


@pytest.fixture(autouse=True)
def reset():
    """Leave no configuration of structlog behind."""
    yield
    structlog.reset_defaults()


def log():
    """Log by structlog, by logging and by Python's warnings."""
    structlog.get_logger("shop").warning("charged")
    logging.getLogger("shop").warning("charged")
    warnings.warn("charged", UserWarning, stacklevel=1)


def places(found):
    """Return the places of what ``log`` logged; a warning's is that of Python's module, as without obskit."""
    *found, warning = [(entry["filename"], entry["func_name"]) for entry in found]
    assert warning[0] in ("warnings.py", "_py_warnings.py")
    return found


def caller():
    """Return the place that called logging, as a filter of the application's may look for it."""
    frame = sys._getframe(2)
    while frame.f_globals["__name__"].partition(".")[0] in ("logging", "structlog"):
        frame = frame.f_back
    return {"filename": frame.f_code.co_filename.rpartition("/")[2], "func_name": frame.f_code.co_name}


@pytest.mark.filterwarnings("always")
def test_a_formatter_of_structlogs_on_standard_output_finds_the_caller():
    with logs() as (handler, _, lines):
        through_the_standard_library(handler, SITE)
        log()
        assert places(map(json.loads, lines())) == [HERE] * 2


@pytest.mark.filterwarnings("always")
def test_a_formatter_of_structlogs_on_any_other_handler_finds_the_caller():
    out = io.StringIO()
    with logs():
        handler = logging.StreamHandler(out)
        through_the_standard_library(handler, SITE)
        logging.root.addHandler(handler)
        log()
    assert places(map(json.loads, out.getvalue().splitlines())) == [HERE] * 2


@pytest.mark.filterwarnings("always")
def test_a_formatter_of_structlogs_before_a_queue_finds_the_caller():
    waiting = queue.Queue()
    with logs():
        structlog.configure([ProcessorFormatter.wrap_for_formatter], logger_factory=structlog.stdlib.LoggerFactory())
        handler = logging.handlers.QueueHandler(waiting)
        handler.setFormatter(
            ProcessorFormatter(processors=[ProcessorFormatter.remove_processors_meta, SITE, JSONRenderer()])
        )
        logging.root.addHandler(handler)
        log()
    assert places(json.loads(waiting.get().getMessage()) for _ in range(3)) == [HERE] * 2


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("kind", [logging.handlers.QueueHandler, logging.handlers.MemoryHandler])
def test_a_filter_of_a_handler_whose_records_wait_finds_the_caller(kind):
    found = []
    handler = kind(queue.Queue() if kind is logging.handlers.QueueHandler else 100)
    handler.addFilter(lambda record: found.append(caller()))
    with logs():
        logging.root.addHandler(handler)
        log()
    handler.close()
    assert places(found) == [HERE]  # structlog prints, as it does where it is not configured


def test_a_record_factory_finds_the_caller():
    found = []

    def factory(*args, **kwargs):
        found.append(caller())
        return before(*args, **kwargs)

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        with logs("inherit"):
            logging.getLogger("shop").warning("charged")
    finally:
        logging.setLogRecordFactory(before)
    assert found == [{"filename": "test_frames.py", "func_name": sys._getframe().f_code.co_name}]


@pytest.mark.parametrize("mode", ["json", "console"])
def test_a_stack_level_counts_the_applications_frames(mode):
    records = []
    handler = logging.Handler()
    handler.emit = records.append

    def helper():
        logging.getLogger("shop").warning("charged", stacklevel=2)

    with logs(mode):
        logging.root.addHandler(handler)
        helper()
    (record,) = records
    assert record.funcName == sys._getframe().f_code.co_name
