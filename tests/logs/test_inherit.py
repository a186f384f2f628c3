"""``logs="inherit"``: the program's own fields of the same names stay, and every record gets the trace."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest

from obskit.logs.setup import LogSetup

from .test_events import OPTIONS
from .test_structlog_and_loguru import traced

NAMES = ("trace_id", "span_id", "trace_sampled")


@contextmanager
def inheriting(factory=None):
    """Apply ``logs="inherit"`` within a span; give the span and the records that are logged."""
    before, records, handler = logging.getLogRecordFactory(), [], logging.Handler()
    handler.emit = records.append
    logging.root.addHandler(handler)
    if factory is not None:
        logging.setLogRecordFactory(factory)
    setup = LogSetup()
    setup.apply(OPTIONS._replace(mode="inherit"))
    try:
        with traced() as span:
            yield span, records
    finally:
        setup.remove()
        logging.root.removeHandler(handler)
        logging.setLogRecordFactory(before)


def of(record):
    return tuple(getattr(record, name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["my own", "", None, 0])
def test_a_field_of_the_programs_own_stays_beside_the_others(name, value):
    with inheriting() as (span, records):
        logging.getLogger("app").warning("paid", extra={name: value, "order": 7})
    (record,) = records
    expected = dict(zip(NAMES, (span.trace_id, span.span_id, True), strict=True)) | {name: value}
    assert dict(zip(NAMES, of(record), strict=True)) == expected
    assert record.order == 7


@pytest.mark.parametrize("key", ["message", "asctime", "name", "args"])
def test_what_logging_refuses_in_extra_is_refused_as_ever(key):
    with inheriting(), pytest.raises(KeyError, match=f"Attempt to overwrite '{key}' in LogRecord"):
        logging.getLogger("app").warning("paid", extra={key: "x", "trace_id": "my own"})


def test_extra_may_be_any_mapping_that_logging_takes():
    class Lines:
        def __init__(self, **fields):
            self.fields = fields

        def __iter__(self):
            return iter(self.fields)

        def __getitem__(self, key):
            return self.fields[key]

    with inheriting() as (_, records):
        logging.getLogger("app").warning("paid", extra=Lines(trace_id="my own", order=7))
    assert (records[0].trace_id, records[0].order) == ("my own", 7)


def test_an_adapters_fields_stay():
    with inheriting() as (_, records):
        logging.LoggerAdapter(logging.getLogger("app"), {"span_id": "my own"}).warning("paid")
    assert records[0].span_id == "my own"


def test_what_a_record_class_holds_stays():
    class Record(logging.LogRecord):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.trace_id, self.span_id, self.trace_sampled = "my own", "as well", None

    with inheriting(Record) as (_, records):
        logging.getLogger("app").warning("paid")
    assert of(records[0]) == ("my own", "as well", None)


def test_a_factory_that_is_set_later_and_make_log_record_give_the_trace():
    with inheriting() as (span, records):
        made = logging.makeLogRecord({"msg": "x"})
        logging.setLogRecordFactory(logging.LogRecord)
        logging.getLogger("app").warning("paid")
    assert of(made) == of(records[0]) == (span.trace_id, span.span_id, True)
