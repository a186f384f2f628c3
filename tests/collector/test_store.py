"""Storage in a file: who can read it, what survives, and what happens when it is damaged or full."""

import sqlite3
import stat
import threading
import time
import zlib
from secrets import token_hex

import pytest

from obskit.collector.deadline import Deadline
from obskit.collector.query import parse_query
from obskit.collector.server import CollectorServer
from obskit.collector.store.database import StoreError
from obskit.collector.store.eviction import TooMany
from obskit.collector.store.opening import open_store
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.model import Endpoint, Span

from .conftest import client_of

SPAN = b'[{"traceId":"1","id":"2","timestamp":1700000000000000,"localEndpoint":{"serviceName":"a"}}]'
SEARCH = "/api/v2/traces?endTs=1700000000001"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.db"


@pytest.fixture
def collector(path):
    with CollectorServer(storage=f"sqlite:///{path}") as server:
        yield client_of(server)


def test_a_new_file_is_readable_by_its_owner_alone(path, collector):
    collector.post(SPAN)
    files = list(path.parent.iterdir())
    assert path in files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_spans_survive_a_restart(path):
    for _ in range(2):
        with CollectorServer(storage=f"sqlite:///{path}") as server:
            client_of(server).post(SPAN)
    store = open_store(f"sqlite:///{path}")
    assert len(store.trace("0000000000000001")) == 1
    store.close()


def damage_block(path, statement, *parameters):
    with sqlite3.connect(path) as connection:
        connection.execute(statement, parameters)
    connection.close()


@pytest.mark.parametrize("damage", [b"garbage", b'{"traceId":1}', b"", b"\xff", 7, "[]"])
def test_a_damaged_row_is_an_error_answer_and_the_rest_goes_on(path, collector, damage):
    collector.post(SPAN)
    collector.post(SPAN.replace(b'"traceId":"1"', b'"traceId":"3"'))
    damage_block(path, "UPDATE blocks SET data = ? WHERE number = 1", damage)
    assert collector.get("/api/v2/trace/1").status == 503
    assert collector.get(SEARCH).status == 503
    assert collector.get("/zipkin/traces/1").status == 503
    assert collector.get("/api/v2/trace/3").status == 200
    assert collector.post(SPAN).status == 202


def test_a_malicious_row_is_escaped(path, collector):
    collector.post(SPAN)
    script = b'[{"traceId":"0000000000000001","id":"<script>","name":"<script>","timestamp":99999999999999999999}]'
    damage_block(path, "UPDATE blocks SET data = ?", zlib.compress(script))
    damage_block(path, "UPDATE names SET name = '<script>'")
    for page in ("/zipkin/traces/1", "/zipkin/"):
        answer = collector.get(page)
        assert answer.status == 200
        assert "<script>" not in answer.text


def test_a_missing_table_is_an_error_answer_and_makes_the_collector_unhealthy(path, collector):
    with sqlite3.connect(path) as connection:
        for table in ("blocks", "names", "parts"):
            connection.execute(f"DROP TABLE {table}")
    connection.close()
    for read in ("/api/v2/services", "/api/v2/spans?serviceName=a", "/api/v2/traces", "/api/v2/trace/1", "/zipkin/"):
        assert collector.get(read).status == 503
    assert collector.post(SPAN).status == 503
    health = collector.get("/health")
    assert (health.status, health.json["status"]) == (503, "DOWN")
    assert "no such table" in health.text


def test_a_full_disk_refuses_the_whole_batch_and_recovers(path):
    store = SpanStore(str(path))
    store._database._connection.execute("PRAGMA max_page_count = 40")  # how SQLite lets one try a full disk
    big = [Span(trace_id=f"{number:016x}", id="1" * 16, tags={"a": token_hex(500)}) for number in range(1, 2000)]
    with pytest.raises(StoreError, match="full"):
        store.add(big)
    assert store.trace(big[0].trace_id) == []
    store._database._connection.execute("PRAGMA max_page_count = 10000")
    store.check()
    store.add(big)
    assert store.trace(big[-1].trace_id) == big[-1:]
    store.close()


def test_a_file_that_is_no_database_is_refused_untouched(path):
    path.write_bytes(b"something else entirely, longer than a header of a database" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a database"):
        SpanStore(str(path))
    assert path.read_bytes() == before


def test_a_file_of_another_schema_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        SpanStore(str(path))


@pytest.mark.parametrize("url", ["", "sqlite", "sqlite:///", "sqlite://x.db", "postgres:///x", "Memory"])
def test_another_storage_is_refused_with_what_can_be_used(url):
    with pytest.raises(ValueError, match="use memory, sqlite:///PATH or zipkin"):
        open_store(url)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        open_store(f"sqlite:///{tmp_path}/nowhere/x.db")


def spans_of(trace, count, **fields):
    return [Span(trace_id=f"{trace:016x}", id=f"{number:016x}", **fields) for number in range(1, count + 1)]


@pytest.mark.parametrize("limits", [{"max_spans": 10}, {"max_bytes": 13_000}], ids=["spans", "bytes"])
def test_beyond_its_limit_what_arrived_first_goes(limits):
    store = SpanStore(**limits)
    for trace in range(1, 13):
        store.add(spans_of(trace, 1, tags={"a": "x" * 1000}))
    assert [trace for trace in range(1, 13) if store.trace(f"{trace:016x}")] == list(range(3, 13))
    store.close()


@pytest.mark.parametrize("messages", [1, 12], ids=["in one message", "in several"])
def test_traces_that_alone_are_over_the_limit_are_refused_and_the_others_stay(messages):
    store = SpanStore(max_spans=10)
    store.add(spans_of(2, 3))
    spans = spans_of(1, 12)
    *fitting, last = [spans[number::messages] for number in range(messages)][:11]
    for message in fitting:
        store.add(message)
    with pytest.raises(TooMany):
        store.add(last)
    stored = [len(store.trace(f"{trace:016x}")) for trace in (1, 2)]
    assert stored == ([0, 3] if messages == 1 else [10, 0])
    store.close()


def test_the_new_spans_of_a_message_are_told_of_and_no_others():
    store, told = SpanStore(), []
    store.on_stored = told.append
    first, second, third = spans_of(1, 3)
    for message in ([first, second, first], [second, third], [third]):
        store.add(message)
    assert told == [[first, second], [third]]
    store.close()


def test_a_name_of_megabytes_does_not_make_the_next_messages_dear():
    def cost(name):
        store = SpanStore()
        store.add(
            [
                Span(
                    trace_id="1" * 16,
                    id="1" * 16,
                    name=name,
                    local_endpoint=Endpoint(name),
                    remote_endpoint=Endpoint(name),
                )
            ]
        )
        messages = [spans_of(trace, 100, name="get", local_endpoint=Endpoint("a-shop")) for trace in range(2, 7)]
        begun = time.process_time()
        for message in messages:
            store.add(message)
        store.close()
        return time.process_time() - begun

    assert cost("m" * 5_000_000) < 3 * cost("m") + 0.05


@pytest.mark.parametrize("what", ["deleted", "replaced", "folder moved"])
def test_a_file_that_is_gone_is_noticed_before_a_202(path, collector, what):
    collector.post(SPAN)
    if what == "folder moved":
        path.parent.rename(path.parent.with_name("elsewhere"))
    else:
        path.unlink()
    if what == "replaced":
        path.write_bytes(b"")
    assert collector.post(SPAN.replace(b'"traceId":"1"', b'"traceId":"3"')).status == 503
    health = collector.get("/health")
    assert (health.status, "deleted or replaced" in health.text) == (503, True)


def test_many_threads_may_read_and_write_at_once():
    store = SpanStore()
    (span,) = decode_list(SPAN)
    failures = []

    def work(number):
        try:
            for count in range(50):
                store.add([Span(trace_id=f"{number + 1:016x}", id=f"{count + 1:016x}", timestamp=span.timestamp)])
                list(store.search(parse_query({"endTs": "1700000000001", "limit": "1"}), Deadline(60)))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert [len(store.trace(f"{number + 1:016x}")) for number in range(4)] == [50] * 4
    store.close()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(StoreError, match="cannot open"):
        SpanStore(str(tmp_path))
