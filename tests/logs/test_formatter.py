"""Every record becomes one strict JSON line with Cloud Logging's fields, whatever is in it."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import re
import sys
import uuid

import pytest
from opentelemetry.context import Context

import obskit
from obskit.base.redaction import MASK, Redactor
from obskit.logs.context import log_context
from obskit.logs.entry import EntryBuilder
from obskit.logs.formatter import CloudLoggingFormatter
from obskit.testing import recording
from obskit.tracing.current import LIFE_KEY, SPAN_KEY, Life, attach, detach, with_span
from obskit.tracing.propagated import PropagatedSpan

P = "logging.googleapis.com/"
FORMATTER = CloudLoggingFormatter(EntryBuilder("orders", "1.4", "proj"))


class Collect(logging.Handler):
    """Keeps what the formatter made of each record."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def log():
    """A logger; ``log.entry()`` is the last line, parsed strictly."""
    logger, handler = logging.Logger("orders.api", logging.DEBUG), Collect()  # noqa: LOG001 - one for each test
    handler.setFormatter(FORMATTER)
    logger.addHandler(handler)
    logger.entry = lambda: strict(handler.lines[-1])
    logger.lines = handler.lines
    return logger


def strict(line):
    """Parse a line as JSON that has no constants Python alone knows, no duplicate keys, and no line ends in it."""

    def refuse(name):
        raise AssertionError(name)

    def unique(pairs):
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    assert line.splitlines() == [line]
    return json.loads(line, parse_constant=refuse, object_pairs_hook=unique)


def test_a_record_has_cloud_loggings_fields(log):
    before = datetime.datetime.now(datetime.timezone.utc)
    log.info("order %s shipped", 17)
    entry = log.entry()
    assert (entry["severity"], entry["message"], entry["logger"]) == ("INFO", "order 17 shipped", "orders.api")
    assert entry["thread"] == "MainThread"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["time"])
    stamp = datetime.datetime.fromisoformat(entry["time"][:26] + "+00:00")
    assert abs((stamp - before).total_seconds()) < 5
    source = entry[P + "sourceLocation"]
    assert source["file"].endswith("test_formatter.py")
    assert source["function"] == "test_a_record_has_cloud_loggings_fields"
    assert source["line"].isdecimal()


def test_insert_ids_are_different_and_grow(log):
    for _ in range(3):
        log.info("x")
    found = [strict(line)[P + "insertId"] for line in log.lines]
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (0, "DEFAULT"),
        (5, "DEBUG"),
        (10, "DEBUG"),
        (20, "INFO"),
        (24, "INFO"),
        (25, "NOTICE"),
        (30, "WARNING"),
        (40, "ERROR"),
        (45, "ERROR"),
        (50, "CRITICAL"),
        (60, "ALERT"),
        (1000, "ALERT"),
    ],
)
def test_levels_are_cloud_loggings_own(level, name):
    record = logging.LogRecord("x", level, "f.py", 1, "m", (), None)
    assert strict(FORMATTER.format(record))["severity"] == name


def test_a_record_names_its_trace_padded_and_with_the_project(log):
    log.info("outside")
    assert P + "trace" not in log.entry()
    with recording() as spans, obskit.span("work") as span:
        log.info("inside")
        entry = log.entry()
        assert entry[P + "trace"] == f"projects/proj/traces/{span.trace_id}"
        assert (entry[P + "spanId"], entry[P + "trace_sampled"]) == (span.span_id, True)
        log.info("inside again")
        assert log.entry()[P + "spanId"] == span.span_id
        with obskit.span("inner") as inner:
            log.info("deeper")
            assert log.entry()[P + "spanId"] == inner.span_id
        log.info("back")
        assert log.entry()[P + "spanId"] == span.span_id
        spans.take()
        span.end()
        spans.take()
    log.info("outside again")
    assert P + "trace" not in log.entry()


def test_a_short_unsampled_trace_is_named_too(log):
    token = attach(with_span(PropagatedSpan("a" * 16, "b" * 16, sampled=False)))
    try:
        log.info("x")
    finally:
        detach(token)
    entry = log.entry()
    assert entry[P + "trace"] == f"projects/proj/traces/{'0' * 16}{'a' * 16}"
    assert entry[P + "trace_sampled"] is False


def test_extra_fields_keep_their_types(log):
    log.info("x", extra={"n": 1, "f": 1.5, "t": True, "none": None, "s": "text", "d": {"a": [1, {"b": 2}]}})
    entry = log.entry()
    assert [entry[key] for key in ("n", "f", "t", "none", "s", "d")] == [
        1,
        1.5,
        True,
        None,
        "text",
        {"a": [1, {"b": 2}]},
    ]


def test_a_dict_message_becomes_fields(log):
    log.warning({"message": "shipped", "order": 7})
    assert (log.entry()["message"], log.entry()["order"]) == ("shipped", 7)
    log.warning({"order": 8})
    assert (log.entry()["message"], log.entry()["order"]) == ("", 8)


def test_googles_own_extra_keys_find_their_places(log):
    log.info(
        "x",
        extra={
            "labels": {"tier": "gold", "n": 1},
            "json_fields": {"order": 7},
            "http_request": {"requestMethod": "GET", "status": 200},
            "operation": {"id": "o-1", "first": True},
            "insert_id": "mine",
        },
    )
    entry = log.entry()
    assert entry[P + "labels"] == {"tier": "gold", "n": "1"}
    assert entry["order"] == 7
    assert entry["httpRequest"] == {"requestMethod": "GET", "status": 200}
    assert entry[P + "operation"] == {"id": "o-1", "first": True}
    assert entry[P + "insertId"] == "mine"


@pytest.mark.parametrize("key", ["severity", "time", "logger", "httpRequest_", P + "trace", "stack_trace", "@type"])
def test_a_field_cannot_pose_as_one_of_ours(log, key):
    log.info("x", extra={key: "EMERGENCY"})
    entry = log.entry()
    assert "EMERGENCY" not in (entry["severity"], entry["time"], entry["logger"], entry.get(P + "trace"))
    assert "EMERGENCY" in (entry.get(key + "_"), entry.get(key))


def test_an_exception_is_what_error_reporting_groups(log):
    for message in ("failed", {"order": 7}):
        try:
            raise ValueError("bad")
        except ValueError:
            log.exception(message)
        entry = log.entry()
        assert entry["severity"] == "ERROR"
        assert entry["stack_trace"].startswith("Traceback (most recent call last):\n")
        assert entry["stack_trace"].endswith("ValueError: bad")
        assert entry["serviceContext"] == {"service": "orders", "version": "1.4"}


def test_a_stack_without_an_exception_is_an_error_event(log):
    log.error("where", stack_info=True)
    entry = log.entry()
    assert entry["stack_trace"].startswith("Stack (most recent call last):")
    assert entry["@type"].endswith("ReportedErrorEvent")


def test_scopes_add_fields_and_records_win_over_them(log):
    with log_context(order_id=7, tier="gold"):
        with log_context(tier="silver"):
            log.info("x", extra={"order_id": 8})
        assert (log.entry()["order_id"], log.entry()["tier"]) == (8, "silver")
        log.info("y")
        assert (log.entry()["order_id"], log.entry()["tier"]) == (7, "gold")
    log.info("z")
    assert "order_id" not in log.entry()


class Unprintable:
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class HostileDict(dict):
    def items(self):
        raise RuntimeError


@dataclasses.dataclass
class Order:
    number: int
    inner: object = None


CYCLE: list = []
CYCLE.append(CYCLE)
DEEP: list = []
for _ in range(10_000):
    DEEP = [DEEP]


HOSTILE = [
    (float("nan"), "nan"),
    (float("-inf"), "-inf"),
    (b"caf\xc3\xa9\xff", "café\\xff"),
    ({1}, [1]),
    ({(1, 2): 3}, {"(1, 2)": 3}),
    ({None: 1, 2.5: 2}, {"None": 1, "2.5": 2}),
    ("\ud800x", "?x"),
    ({"\ud800": "\udfff"}, {"?": "?"}),
    (Unprintable(), "<unprintable Unprintable>"),
    ([Unprintable()], ["<unprintable Unprintable>"]),
    (HostileDict(a=1), {"unprintable": "HostileDict"}),
    (Order(7), {"number": 7, "inner": None}),
    (Order(7, Unprintable()), None),
    (
        datetime.datetime(2026, 1, 2),  # noqa: DTZ001 - applications log them
        "2026-01-02T00:00:00",
    ),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (10**30, 10**30),
    (10**5000, hex(10**5000)[:100]),
    (CYCLE, None),
    (DEEP, None),
    (ValueError("bad"), "bad"),
    ("a\nb\rc\u2028d\x1b[31me\x00", "a\nb\rc\u2028d\x1b[31me\x00"),
    (object, "<class 'object'>"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_values_are_shown_on_one_line(log, number):
    value, shown = HOSTILE[number]
    for record in (lambda: log.info("x", extra={"v": value}), lambda: log.info({"message": "x", "v": value})):
        record()
        entry = log.entry()
        assert entry["message"] == "x"
        found = entry["v"]
        assert shown is None or (found[: len(shown)] if isinstance(shown, str) else found) == shown


MESSAGES = [
    ("%d apples", ("x",), "%d apples"),
    ("%s and %s", ("one",), "one"),
    ("no place", ("extra",), "extra"),
    ("%s", (Unprintable(),), "not formatted"),
    (Unprintable(), (), "unprintable"),
    (None, (), "None"),
    (10**5000, (), "0x"),
    ("%(a)s", ({"b": 1},), "%(a)s"),
    ("line\nbreak\r\u2028\u2029\x85end", (), "line\nbreak"),
]


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_a_message_that_cannot_be_formatted_is_still_a_line(log, number):
    message, arguments, part = MESSAGES[number]
    log.info(message, *arguments)
    assert part in log.entry()["message"]


@pytest.mark.parametrize("size", [100_000, 1_000_000])
@pytest.mark.parametrize("where", ["message", "field", "nested", "many", "stack"])
def test_a_giant_entry_is_cut_below_cloud_loggings_limit_and_says_so(log, size, where):
    big = "é" * (size // 2)
    if where == "stack":
        try:
            raise ValueError(big)
        except ValueError:
            log.exception("x", extra={"kept": 1})
    elif where == "message":
        log.info(big, extra={"kept": 1})
    else:
        fields = {
            "field": {"v": big},
            "nested": {"v": [{"a": big}] * 3},
            "many": {f"k{n}": "v" * 50 for n in range(size // 50)},
        }
        log.info("x", extra={"kept": 1, **fields[where]})
    line = log.lines[-1]
    entry = strict(line)
    assert len(line.encode()) < 256 * 1024
    assert entry["severity"] in ("INFO", "ERROR")
    assert entry["kept"] == 1
    if size == 1_000_000:
        assert entry["truncated"] is True


def test_secrets_are_masked_wherever_they_stand(log):
    canary = "s3cr3t-c4n4ry"
    log.info(
        "GET http://user:%s@host/p?access_token=%s&page=2 with Authorization: Bearer %s",
        canary,
        canary,
        canary,
        extra={
            "password": canary,
            "API-Key": canary,
            "headers": {"Cookie": canary, "X-Auth-Token": canary, "Accept": "json"},
            "items": [{"client_secret": canary}],
            "note": f"password={canary}; db_passwd: {canary}",
            "url": f"https://bucket/x?X-Amz-Signature={canary}&sig={canary}&page=2",
        },
    )
    line = log.lines[-1]
    assert canary not in line
    entry = strict(line)
    assert entry["password"] == MASK
    assert entry["headers"]["Accept"] == "json"
    assert "page=2" in entry["message"]
    assert "page=2" in entry["url"]
    try:
        raise ValueError(f"cannot connect to postgres://app:{canary}@db/x")
    except ValueError:
        log.exception("failed")
    assert canary not in log.lines[-1]


def test_ordinary_text_is_not_masked(log):
    text = "status code: 404, tokens: 17, key=3, at 12:30:01, ratio=0.5"
    log.info(text, extra={"monkey": "x"})
    assert (log.entry()["message"], log.entry()["monkey"]) == (text, "x")


def test_the_list_of_secret_keys_is_the_callers():
    formatter = CloudLoggingFormatter(EntryBuilder(redactor=Redactor(["iban"])))
    record = logging.makeLogRecord({"msg": "x", "levelno": 20, "iban_number": "CH1", "password": "shown"})
    entry = strict(formatter.format(record))
    assert (entry["iban_number"], entry["password"]) == (MASK, "shown")


@pytest.mark.parametrize(
    ("created", "time"),
    [
        (0.25, "1970-01-01T00:00:00.250000000Z"),
        (-5.5, "1969-12-31T23:59:54.500000000Z"),
        (3, "1970-01-01T00:00:03.000000000Z"),
        (1.7e9 + 0.015625, "2023-11-14T22:13:20.015625000Z"),
        (1.7e9 - 2**-22, "2023-11-14T22:13:19.999999761Z"),
    ],
)
def test_times_have_nanoseconds(created: float, time: str):
    formatter = CloudLoggingFormatter()
    record = logging.makeLogRecord({"msg": "x", "created": created})
    assert strict(formatter.format(record))["time"] == time
    assert strict(formatter.format(record))["severity"] == "DEFAULT"


def test_masking_takes_linear_time():
    redactor = Redactor()
    for evil in (
        "a" * 200_000 + "=",
        "password" * 25_000 + ":",
        "a.-" * 70_000 + ":",
        "?sig" * 50_000 + "=",
        "cookie:" * 30_000,
    ):
        assert len(redactor.text(evil)) > 5


def test_access_logs_carry_the_request():
    record = logging.LogRecord(
        "uvicorn.access", 20, "f", 1, '%s - "%s %s HTTP/%s" %d', ("10.0.0.1:5", "GET", "/a?b=1", "1.1", 200), None
    )
    assert strict(FORMATTER.format(record))["httpRequest"] == {
        "requestMethod": "GET",
        "requestUrl": "/a",
        "status": 200,
        "remoteIp": "10.0.0.1",
        "protocol": "HTTP/1.1",
    }


def test_no_formatter_ever_raises(monkeypatch):
    builder = EntryBuilder()
    monkeypatch.setattr(builder, "quick", lambda *_: 1 / 0)
    monkeypatch.setattr(logging.getLogger("obskit"), "disabled", True)
    record = logging.makeLogRecord({"msg": "x"})
    assert "not formatted" in strict(CloudLoggingFormatter(builder).format(record))["message"]
    assert sys.exc_info() == (None, None, None)


QUICK_VALUES = [
    "acme",
    "a b",
    'say "hi"',
    "x\ny\x1b[0m",
    "",
    "password=hunter2",
    "https://u:p@h/?token=abc",
    "é",
    "ﬀ²Ⅷ",
    "a" * 20_000,
]
QUICK_VALUES += [0, -1, 3, 10**30, True, False, None, 1.5, -1e-7, 1e300]
THOROUGH_VALUES = ["naïve café", "\ud800", "a b" * 20_000, "é" * 50_000, 10**5000, float("nan"), -float("inf"), [1, 2]]
THOROUGH_VALUES += [{"password": "x"}, Unprintable()]


@pytest.mark.parametrize("number", range(len(QUICK_VALUES + THOROUGH_VALUES)))
@pytest.mark.parametrize("key", ["customer", "severity", "user_password", "naïve", "message_"])
def test_the_quick_way_writes_what_the_thorough_one_does(key, number):
    builder = EntryBuilder("orders", "1.4", "proj")
    record = logging.makeLogRecord(
        {"msg": "to %s", "args": ("Bearer abcdef123",), key: (QUICK_VALUES + THOROUGH_VALUES)[number], "last": 1}
    )
    thorough = builder.read(record)
    assert list(thorough) == ["message", *list(thorough)[1:-1], "last"]
    quick = builder.quick(record, vars(record))
    if quick:
        entry = strict("{" + quick[1:] + "}")
        entry.pop(P + "insertId")
        assert list(entry.items()) == list(thorough.items())
    usual = number < len(QUICK_VALUES)
    assert bool(quick) == (usual and key in ("customer", "message_"))


FORMATS = {
    "took %d ms: %.3f of %i %%": (3, 0.25, 7),
    "count=%5.1f": (float("nan"),),
    "pin %d: password=%d": (1, 4711),
    "password=hunter%d": (2,),
    "postgres://app:secret%d@db": (123456,),
    "Bearer abcdef%d": (1,),
    "eyJhbGciOi%d.eyJhbGciOi%d.x": (1, 2),
    "took %d ms: %s": (3, "password=x"),
    "%(n)d of %(what)s": {"n": 1, "what": "password=x"},
    "it is %s": {1: "password=x"},
    "at %*d": (5, 1),
}


@pytest.mark.parametrize("template", FORMATS)
def test_messages_of_numbers_are_masked_as_others_are(template):
    builder = EntryBuilder()
    for _ in range(2):  # what a format allows is cached
        record = logging.makeLogRecord({"msg": template, "args": FORMATS[template], "last": 1})
        expected = builder.read(record)
        assert expected["message"] == Redactor().text(template % FORMATS[template])
        del record.message
        entry = strict("{" + (builder.quick(record, vars(record)))[1:] + "}")
        assert entry["message"] == expected["message"]


def test_a_program_that_makes_formats_as_it_runs_fills_no_memory():
    builder = EntryBuilder()
    for number in range(2_000):
        record = logging.makeLogRecord({"msg": f"{number} took %d ms", "args": (number,)})
        assert f'"{number} took {number} ms"' in builder.quick(record, vars(record))
    assert len(builder._harmless) == 1_000


def test_what_a_context_says_ends_with_its_request(log):
    span = PropagatedSpan("1" * 32, "2" * 16, True)
    life = Life(span, Context())
    token = attach(Context({SPAN_KEY: span, LIFE_KEY: life}))
    try:
        log.info("first")
        assert log.entry()[f"{P}spanId"] == "2" * 16
        life.ended = True
        log.info("second")
        assert f"{P}spanId" not in log.entry()
    finally:
        detach(token)


def test_colours_for_terminals_are_no_part_of_servers_lines(log):
    record = {"name": "werkzeug", "msg": '"%s" %s', "args": ("\x1b[33mGET / HTTP/1.1\x1b[0m", 404)}
    entry = strict(CloudLoggingFormatter().format(logging.makeLogRecord(record)))
    assert entry["message"] == '"GET / HTTP/1.1" 404'
    log.info("Started", extra={"color_message": "\x1b[1mStarted\x1b[0m", "pid": 7})
    assert strict(log.lines[-1])["pid"] == 7
    assert "color_message" not in strict(log.lines[-1])


def test_attributes_may_be_missing_added_or_anywhere_on_a_record():
    formatter = CloudLoggingFormatter()
    bare = list(vars(logging.makeLogRecord({})))
    for missing in bare:
        record = logging.makeLogRecord({"msg": "x", "levelno": 20, "order": 7})
        del vars(record)[missing]
        entry = strict(formatter.format(record))
        assert entry["order"] == 7, missing
        assert missing in ("msg", "args") or entry["message"] == "x", missing

    class Early(logging.LogRecord):
        def __init__(self, *args):
            self.early = "e"
            super().__init__(*args)

        def getMessage(self):
            return "[7] " + super().getMessage()

    entry = strict(formatter.format(Early("a", 20, "f", 1, "paid", (), None)))
    assert (entry["early"], entry["message"]) == ("e", "[7] paid")


def test_a_field_named_message_gets_an_underscore(log):
    log.info("paid", extra={"json_fields": {"message": "of the field", "asctime": "t"}})
    entry = strict(log.lines[-1])
    assert (entry["message"], entry["message_"], entry["asctime"]) == ("paid", "of the field", "t")


def test_a_field_named_as_what_formatters_set_is_not_looked_for_on_later_records(log):
    log.info("paid", extra={"items": 1, "json_fields": {"asctime": "t"}})
    record = log.makeRecord("orders.api", logging.INFO, "f", 1, "paid", (), None, extra={"items": 2})
    record.asctime = "as another handler has it"
    log.handle(record)
    assert (log.entry()["items"], "asctime" in log.entry()) == (2, False)


def test_a_long_stack_loses_its_middle_and_not_its_end(log):
    error = None
    for number in range(500):
        new = ValueError(f"cause {number} " + "x" * 100)
        new.__cause__, error = error, new
    try:
        raise RuntimeError("the error itself") from error
    except RuntimeError:
        log.exception("failed")
    entry = strict(log.lines[-1])
    assert entry["stack_trace"].endswith("RuntimeError: the error itself")
    assert "characters left out" in entry["stack_trace"]


def test_an_exception_logged_where_none_is_handled_has_no_stack(log):
    log.exception("outside")  # noqa: LOG004 - what programs do
    assert "stack_trace" not in strict(log.lines[-1])
