"""CloudLoggingHandler with Google's own client, against a server that speaks the REST API."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import obskit
from obskit.export.delivery.pipeline import Limits
from obskit.export.gcp.account import delivering
from obskit.export.gcp.endpoint import ApiEndpoint
from obskit.logs.cloud.handler import CloudLoggingHandler
from obskit.tracing.tracer import Tracer
from tests.export.receiver import eventually, free_port
from tests.logs.cloud import google_fakes
from tests.logs.cloud.google_fakes import Answer, CloudLogging

LIMITS = Limits(capacity=10_000, batch_size=500, interval=0.05, timeout=10.0)
UNAVAILABLE = Answer(503, "UNAVAILABLE")
Make = Callable[..., tuple[logging.Logger, CloudLoggingHandler]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make loggers with a handler each, closed after the test."""
    made: list[tuple[logging.Logger, CloudLoggingHandler]] = []

    def build(endpoint: str, **options: Any) -> tuple[logging.Logger, CloudLoggingHandler]:
        options = {"service": "orders", "project": "p", "limits": LIMITS, "exit_timeout": 30.0, **options}
        handler = CloudLoggingHandler(endpoint=endpoint, **options)
        logger = logging.getLogger(f"tests.cloud.{len(made)}")
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        made.append((logger, handler))
        return made[-1]

    yield build
    for logger, handler in made:
        logger.removeHandler(handler)
        handler.pipeline.close(time.monotonic() + 10)
        handler.close()
        eventually(lambda: not handler.pipeline.busy)  # noqa: B023 - used up at once


def delivered(handler: CloudLoggingHandler, seconds: float = 30.0) -> bool:
    return handler.pipeline.flush(time.monotonic() + seconds)


def balance(handler: CloudLoggingHandler) -> dict[str, Any]:
    stats = handler.pipeline.stats()
    assert stats["produced"] == stats["delivered"] + sum(stats["dropped"].values()) + stats["queued"], stats
    return stats


def test_a_record_arrives_as_an_entry_with_every_field_in_its_place(make, cloud):
    logger, handler = make(cloud.address, service="order service", version="1.2")
    extra = {
        "order_id": 7,
        "labels": {"tenant": "a"},
        "operation": {"id": "op-1", "producer": "here", "first": True},
        "http_request": {"requestMethod": "GET", "status": 200, "latency": 0.25, "responseSize": 12},
    }
    logger.warning("hello %s", "world", extra=extra)
    assert delivered(handler)
    [entry] = cloud.entries
    assert entry["logName"] == "projects/p/logs/order-service"
    assert entry["resource"] == {"type": "global", "labels": {"project_id": "p"}}
    assert entry["severity"] == "WARNING"
    assert entry["jsonPayload"]["message"] == "hello world"
    assert entry["jsonPayload"]["order_id"] == 7
    assert entry["jsonPayload"]["logger"] == logger.name
    assert entry["labels"] == {"tenant": "a"}
    assert entry["operation"] == {"id": "op-1", "producer": "here", "first": True}
    assert entry["httpRequest"] == {
        "requestMethod": "GET", "status": 200, "latency": "0.250000000s", "responseSize": "12",
    }  # fmt: skip
    assert entry["sourceLocation"]["file"] == __file__
    assert entry["insertId"]
    assert entry["timestamp"].endswith("Z")
    assert "trace" not in entry
    assert cloud.requests[0]["partialSuccess"] is True


def test_a_record_inside_a_span_knows_its_trace(make, cloud):
    logger, handler = make(cloud.address)
    with obskit.span("work") as span:
        logger.info("inside")
    assert delivered(handler)
    [entry] = cloud.entries
    assert entry["trace"] == f"projects/p/traces/{span.trace_id.zfill(32)}"
    assert entry["spanId"] == span.span_id
    assert entry["traceSampled"] is bool(span.sampled)


def test_an_exception_arrives_as_error_reporting_reads_it(make, cloud):
    logger, handler = make(cloud.address, version="1.2")
    try:
        raise ValueError("no stock")
    except ValueError:
        logger.exception({"message": "failed", "order_id": 7})
    assert delivered(handler)
    payload = cloud.entries[0]["jsonPayload"]
    assert payload["stack_trace"].startswith("Traceback (most recent call last):")
    assert payload["serviceContext"] == {"service": "orders", "version": "1.2"}


def test_records_of_many_threads_all_arrive_once(make, cloud):
    logger, handler = make(cloud.address)

    def work(thread: int) -> None:
        for number in range(250):
            logger.info("%d-%d", thread, number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert delivered(handler)
    assert sorted(cloud.messages) == sorted(f"{thread}-{number}" for thread in range(8) for number in range(250))
    assert len({entry["insertId"] for entry in cloud.entries}) == 2000
    assert balance(handler)["delivered"] == 2000
    assert handler.pipeline._put == handler.pipeline._got > 0


def hostile_values() -> dict[str, Any]:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    return {
        "nan": math.nan, "infinite": -math.inf, "bytes": b"\xff\x00", "set": {1}, "cycle": cycle, "tuple": {(1, 2): 3},
        "huge": 10**5000, "surrogate": "\ud800", "rude": Rude(), "large": "x" * 1_000_000, "dense": list(range(1000)),
        "denser": [list(range(10)) for _ in range(1000)], "wide": {str(key): key for key in range(1000)},
        "labels": {f"label-{number}": "x" * 1000 for number in range(100)},
        "http_request": {"status": "soon", "latency": [], "unknown": 1, "requestMethod": "GET"},
        "operation": "not one", "insert_id": object(),
    }  # fmt: skip


def test_every_hostile_value_arrives_and_harms_no_neighbour(make, cloud):
    logger, handler = make(cloud.address)
    for name, value in hostile_values().items():
        logger.info("with %s", name, extra={name: value})
    logger.info("m" * 1_000_000)
    handler.handle(logging.makeLogRecord({"msg": "wrong %d %s", "args": ("arguments",), "levelno": 20}))
    logger.info("lone \udfff surrogate and \x00")
    assert delivered(handler)
    assert len(cloud.entries) == len(hostile_values()) + 3
    assert cloud.messages[: len(hostile_values())] == [f"with {name}" for name in hostile_values()]
    assert balance(handler)["dropped"] == {}


def test_an_entry_that_the_api_blames_is_counted_and_its_neighbours_are_delivered_once(make, cloud):
    logger, handler = make(cloud.address)
    cloud.answers.append(Answer(400, "INVALID_ARGUMENT", places=(3, 5)))
    for number in range(10):
        logger.info("%d", number)
    assert not delivered(handler)
    assert cloud.messages == ["0", "1", "2", "4", "6", "7", "8", "9"]
    assert balance(handler)["dropped"] == {"rejected": 2}
    assert len(cloud.requests) == 1


def test_a_request_refused_without_a_name_is_split_until_only_the_bad_entry_is_lost(make, cloud):
    def judge(request: dict[str, Any]) -> Answer:
        bad = any(entry["jsonPayload"]["message"] == "bad" for entry in request["entries"])
        return Answer(400, "INVALID_ARGUMENT") if bad else google_fakes.OK

    cloud.judge = judge
    logger, handler = make(cloud.address)
    for number in range(100):
        logger.info("bad" if number == 37 else str(number))
    assert not delivered(handler)
    assert sorted(cloud.messages, key=int) == [str(number) for number in range(100) if number != 37]
    assert balance(handler)["dropped"] == {"rejected": 1}


def test_a_request_refused_whatever_is_in_it_is_given_up_after_a_while(make, cloud, monkeypatch):
    monkeypatch.setattr("obskit.logs.cloud.delivery._MOST_PARTS", 20)
    cloud.judge = lambda _: Answer(400, "INVALID_ARGUMENT")
    logger, handler = make(cloud.address)
    for number in range(100):
        logger.info("%d", number)
    assert not delivered(handler)
    assert balance(handler)["dropped"] == {"rejected": 100}
    assert len(cloud.requests) < 70  # to try each by itself takes 199


@pytest.mark.parametrize("answer", [UNAVAILABLE, Answer(429, "RESOURCE_EXHAUSTED"), Answer(401, "UNAUTHENTICATED")])
def test_a_passing_failure_loses_nothing(make, cloud, answer):
    cloud.answers += [answer, answer]
    logger, handler = make(cloud.address)
    for number in range(20):
        logger.info("%d", number)
    assert delivered(handler)
    assert cloud.messages == [str(number) for number in range(20)]
    assert len(cloud.requests) == 3


def test_missing_permission_is_told_once_on_standard_error_and_counted(make, cloud, capfd):
    cloud.judge = lambda _: Answer(403, "PERMISSION_DENIED")
    _, handler = make(cloud.address)
    root = logging.getLogger()
    root.addHandler(handler)  # so that our own warning goes through the very handler it is about
    try:
        for number in range(3):
            logging.getLogger("app").warning("%d", number)
            delivered(handler)
    finally:
        root.removeHandler(handler)
    assert balance(handler)["dropped"]["permission_denied"] >= 3
    assert balance(handler)["delivered"] == 0
    told = [line for line in capfd.readouterr().err.splitlines() if "PERMISSION" in line or "403" in line]
    assert len(told) == 1
    assert "1 log entry could not be delivered" in told[0]


def test_when_nobody_listens_logging_goes_on_and_flush_and_close_keep_their_deadlines(make):
    logger, handler = make(f"http://127.0.0.1:{free_port()}", exit_timeout=0.2)
    for number in range(100):
        logger.info("%d", number)
    assert not delivered(handler, 0.2)
    handler.flush()
    handler.close()
    assert balance(handler)["queued"] == 100
    handler.begin_close()
    eventually(lambda: balance(handler)["dropped"] == {"unreachable": 100})


def test_when_the_server_never_answers_flush_gives_up_in_time_and_what_waits_is_counted(make):
    with google_fakes.silence() as address:
        logger, handler = make(f"http://{address}", limits=LIMITS._replace(timeout=0.5))
        logger.info("hello")
        assert not delivered(handler, 0.1)
        assert balance(handler)["queued"] == 1
        handler.pipeline.close(time.monotonic())


def test_the_queue_is_bounded_in_entries_and_what_it_refuses_is_counted(make):
    with google_fakes.silence() as address:
        limits = LIMITS._replace(capacity=10, batch_size=100, interval=3600.0)
        logger, handler = make(f"http://{address}", limits=limits)
        for number in range(30):
            logger.info("%d", number)
        assert balance(handler)["dropped"] == {"queue_full": 20}
        handler.pipeline.close(time.monotonic())


def test_the_queue_is_bounded_in_bytes_and_what_it_refuses_is_counted(make):
    with google_fakes.silence() as address:
        logger, handler = make(f"http://{address}", limits=LIMITS._replace(interval=3600.0, size=100_000))
        for _ in range(10):
            logger.info("x" * 30_000)
        assert balance(handler)["dropped"] == {"queue_full": 7}
        assert not handler.pipeline.full
        handler.pipeline.close(time.monotonic())


def test_a_record_after_close_is_delivered_and_one_after_retire_counted(make, cloud):
    logger, handler = make(cloud.address)
    handler.close()
    eventually(lambda: not handler.pipeline.busy)
    logger.info("late")
    assert delivered(handler)
    assert cloud.messages == ["late"]
    handler.begin_close()
    logger.info("too late")
    assert balance(handler)["dropped"] == {"shutdown": 1}


def test_what_google_s_libraries_log_while_they_deliver_is_not_delivered(make, cloud):
    _, handler = make(cloud.address)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)  # urllib3 logs every request
    try:
        logging.getLogger("app").info("once")
        assert delivered(handler)
        assert delivered(handler)
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    assert [entry["jsonPayload"]["logger"] for entry in cloud.entries] == ["app"]


def test_a_record_made_in_the_context_of_delivery_is_ignored_on_any_thread(make, cloud):
    logger, handler = make(cloud.address)
    with delivering():
        logger.info("feedback")
    assert balance(handler)["produced"] == 0


def test_delivery_is_not_traced(make, cloud, monkeypatch):
    started: list[str] = []
    start = Tracer.start_span

    def note(tracer: Tracer, name: str, *arguments: Any, **options: Any) -> Any:
        started.append(name)
        return start(tracer, name, *arguments, **options)

    monkeypatch.setattr(Tracer, "start_span", note)
    logger, handler = make(cloud.address)
    logger.info("hello")
    assert delivered(handler)
    assert started == []
    assert not {"x-b3-traceid", "b3", "traceparent"} & {name.lower() for name in cloud.headers[0]}


def test_no_thread_is_started_before_the_first_record(cloud):
    before = threading.active_count()
    handler = CloudLoggingHandler("orders", endpoint=cloud.address)
    handler.flush()
    handler.close()
    assert threading.active_count() == before


def test_an_unknown_project_is_said_and_the_entries_are_kept(make, cloud, caplog):
    logger, handler = make(cloud.address, project=None)
    logger.info("hello")
    eventually(lambda: "no Google Cloud project is known" in caplog.text)
    assert balance(handler)["queued"] == 1
    handler.pipeline.close(time.monotonic())
    assert cloud.requests == []


def test_a_given_resource_is_used_as_it_is(make, cloud):
    logger, handler = make(cloud.address, resource=("generic_task", {"job": "nightly"}), log_name="a/b c")
    logger.info("hello")
    assert delivered(handler)
    assert cloud.entries[0]["resource"] == {"type": "generic_task", "labels": {"project_id": "p", "job": "nightly"}}
    assert cloud.entries[0]["logName"] == "projects/p/logs/a-b-c"


def test_credentials_of_a_service_account_go_with_each_request_and_name_the_project(
    make, cloud, key_folder, monkeypatch
):
    key_file = google_fakes.make_key_file(key_folder, cloud.address)
    trusting = ApiEndpoint(cloud.address, anonymous=False)  # else they stay at home over plain HTTP
    monkeypatch.setattr("obskit.logs.cloud.handler.read_endpoint", lambda *_, **__: trusting)
    logger, handler = make(cloud.address, project=None, key_file=str(key_file))
    logger.info("hello")
    assert delivered(handler)
    assert cloud.entries[0]["logName"] == "projects/the-accounts-project/logs/orders"
    assert cloud.headers[0]["authorization"] == "Bearer a-token"


def test_no_credentials_travel_in_the_clear(make, cloud, key_folder):
    key_file = google_fakes.make_key_file(key_folder, cloud.address)
    logger, handler = make(cloud.address, key_file=str(key_file))
    logger.info("hello")
    assert delivered(handler)
    assert "authorization" not in {name.lower() for name in cloud.headers[0]}


def test_a_bad_endpoint_is_an_error_that_names_it(cloud: CloudLogging):
    with pytest.raises(ValueError, match="ftp://here"):
        CloudLoggingHandler("orders", endpoint="ftp://here")
