"""Lines as programs print them: JSON of several makes, text, tracebacks, and what is no line at all."""

import json
import logging

import pytest

from obskit.collector.intake.log_entries import moment_of, read_lines
from obskit.logs.entry import EntryBuilder
from obskit.logs.formatter import CloudLoggingFormatter

TRACE = "5b8efff798038103d269b633813fc60c"


def read(*lines, **params):
    body = b"\n".join(item if isinstance(item, bytes) else json.dumps(item).encode() for item in lines)
    return list(read_lines(body, **params))


def test_what_obskit_prints():
    formatter = CloudLoggingFormatter(builder=EntryBuilder("shop", "1.2", "my-project"))
    try:
        raise KeyError("tea")
    except KeyError as error:
        record = logging.LogRecord("shop.orders", 40, "/app/orders.py", 7, "no %s", ("stock",), None, "place")
        record.exc_info = (KeyError, error, error.__traceback__)
    record.order_id = 12
    (line,) = read(formatter.format(record).encode(), instance="pod-1")
    assert (line.service, line.instance, line.logger, line.level) == ("shop", "pod-1", "shop.orders", "ERROR")
    assert line.message.startswith("no stock\nTraceback (most recent call last):")
    assert line.message.endswith("KeyError: 'tea'")
    assert line.source == "/app/orders.py:7 (place)"
    assert line.time == pytest.approx(record.created * 1e6, abs=2)
    assert line.key
    assert line.fields["order_id"] == 12
    assert line.fields["serviceContext"] == {"version": "1.2"}


def test_an_entry_of_gclouds_list():
    entry = {
        "insertId": "abc",
        "jsonPayload": {"message": "slow", "cart": 3},
        "severity": "WARNING",
        "timestamp": "2026-01-31T14:00:00.123456789Z",
        "trace": f"projects/p/traces/{TRACE.upper()}",
        "spanId": "eee19b7ec3c1b174",
        "resource": {"type": "k8s_container", "labels": {"container_name": "shop", "pod_name": "shop-1"}},
        "sourceLocation": {"file": "a.py", "line": "3"},
    }
    lines = read([entry, {"textPayload": "plain", "resource": {"labels": {}}}])
    assert [line.message for line in lines] == ["slow", "plain"]
    line = lines[0]
    assert (line.service, line.instance, line.trace, line.span) == ("shop", "shop-1", TRACE, "eee19b7ec3c1b174")
    assert (line.time, line.severity, line.key, line.source) == (1769868000123456, 400, "abc", "a.py:3")
    assert line.fields == {"cart": 3}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"msg": "a", "level": "warn"}, ("a", "WARNING")),  # zap, logrus
        ({"msg": "a", "level": 40}, ("a", "ERROR")),  # Python's numbers
        ({"event": "a", "level": "info"}, ("a", "INFO")),  # structlog
        ({"message": {"b": 1}, "severity": 200}, ('{"b":1}', "INFO")),
        ({"message": None, "level": None}, ("", "DEFAULT")),
        ({"message": "\x1b[31mred\x1b[0m", "severity": "loud"}, ("red", "DEFAULT")),
        ({"message": "a", "level": 10**30}, ("a", "DEFAULT")),
    ],
)
def test_names_that_others_use(entry, expected):
    (line,) = read(entry)
    assert (line.message, line.level) == expected
    assert line.service == "unknown"


def test_text_lines_and_a_traceback_between_them():
    text = b"""\x1b[32mstarted\x1b[0m\r
ERROR:root:failed
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    1 / 0
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
KeyError: 1
[INFO] done

\xff"""
    lines = read(text, service="app")
    assert [line.message.splitlines()[0] for line in lines] == ["started", "ERROR:root:failed", "[INFO] done", "\ufffd"]
    assert lines[1].message.endswith("KeyError: 1")
    assert [line.level for line in lines] == ["DEFAULT", "ERROR", "INFO", "DEFAULT"]
    assert {line.service for line in lines} == {"app"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"message": "half \\ud800 a pair"}',
        b'{"message": "nan", "x": NaN}',
        b'{"message": "large", "x": 123456789012345678901234567890}',
        b'{"message": "bytes \xff"}',
        b'{"message": "cut',
        b'{"message": ' + b"[" * 100_000,
        b'{"message": "a", "fields": ' + b'{"a":' * 300 + b"1" + b"}" * 301,
        b"[1, 2]",
        b"\0",
        b'{"time": {"seconds": "x"}, "trace": 7, "span_id": [], "serviceContext": "s", "resource": 1, "message": "m"}',
        b'{"timestampSeconds": [], "message": "m", "time": 1e400}',
    ],
)
def test_what_makes_no_sense_is_a_line_too(raw, lines_store):
    lines = list(read_lines(raw))
    assert len(lines) == 1
    assert lines_store.add(lines) == 1


@pytest.fixture
def lines_store():
    from obskit.collector.lines.store import LineStore
    from obskit.collector.store.spans import SpanStore

    spans = SpanStore()
    yield LineStore(spans.database)
    spans.close()


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T14:00:00Z",
        "2026-01-31T15:00:00+01:00",
        "2026-01-31T14:00:00.000000000Z",
        "2026-01-31 14:00:00,000 UTC",
        1769868000,
        1769868000.0,
        1769868000000,
        1769868000000000,
        1769868000000000000,
        "1769868000",
        {"seconds": 1769868000, "nanos": 0},
    ],
)
def test_times(value):
    assert moment_of(value) == 1_769_868_000_000_000


@pytest.mark.parametrize("value", ["soon", "2026-13-31T14:00:00Z", -1, None, True, {}, [], "9" * 40, float("nan")])
def test_what_is_no_time(value):
    assert moment_of(value) == 0
