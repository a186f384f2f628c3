"""Health numbers: counted once for each entry span, kept when the spans go."""

import random
import sqlite3

import pytest

from obskit.collector.store.database import backup
from obskit.collector.store.eviction import TooMany
from obskit.collector.store.health_numbers import Numbers
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Endpoint, Span

NOW = 1_700_000_000_000_000
OLD = """
    CREATE TABLE old AS SELECT minute, digest, service, name, calls, errors, buckets FROM cells;
    DROP TABLE cells;
    CREATE TABLE cells (minute INTEGER NOT NULL, digest BLOB NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL,
        calls INTEGER NOT NULL, errors INTEGER NOT NULL, buckets BLOB NOT NULL, PRIMARY KEY (minute, digest));
    INSERT INTO cells SELECT * FROM old;
    DROP TABLE old;
    DROP TABLE held;
    PRAGMA user_version = 2;
"""
MINUTE = 60_000_000


def entry(number, **fields):
    usual = {"kind": "SERVER", "name": "get /", "timestamp": NOW, "local_endpoint": Endpoint("shop")}
    return Span(trace_id=f"{number:016x}", id=f"{number:016x}", **{**usual, **fields})


def read(store, service=None, first=NOW, last=NOW):
    found = store.cells.between(first, last, service)
    return {key: (numbers.calls, numbers.errors) for key, numbers in found.items()}


def test_entry_spans_are_counted_by_service_and_name():
    store = SpanStore()
    inner = {"parent_id": "1" * 16, "kind": None}
    store.add(
        [
            entry(1),
            entry(2, tags={"error": ""}),
            entry(3, name="put /", kind="CONSUMER", parent_id="1" * 16),
            entry(4, kind=None),  # a root
            entry(5, **inner),
            entry(6, **{**inner, "kind": "CLIENT"}),
            entry(7, local_endpoint=None),
            entry(8, timestamp=None),
            entry(9, local_endpoint=Endpoint("stock"), name=None),
        ]
    )
    expected = {("shop", "get /"): (3, 1), ("shop", "put /"): (1, 0), ("stock", ""): (1, 0)}
    assert read(store) == expected
    assert read(store) == expected
    assert read(store, "stock") == {("stock", ""): (1, 0)}
    assert read(store, first=NOW - 10 * MINUTE, last=NOW - MINUTE) == {}
    assert store.cells.totals() == [("shop", 4, 1), ("stock", 1, 0)]
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_each_is_counted_once_whatever_is_merged_or_deleted_or_opened_anew(seed, tmp_path):
    source = random.Random(seed)
    path, number, count = str(tmp_path / "x.db"), 0, 0
    store = SpanStore(path, max_spans=2_000)
    for _ in range(120):
        size = source.choice([1, 2, 60, 300])
        store.add([entry(number + n + 1) for n in range(size)] * 2)
        number, count = number + size, count + size
        if source.random() < 0.1:
            read(store)
        if source.random() < 0.05:
            store.close()
            store = SpanStore(path, max_spans=2_000)
    assert read(store) == {("shop", "get /"): (count, 0)}
    assert store._table.spans <= 2_000
    store.close()


def test_there_are_only_so_many_and_the_oldest_go(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.cells._MOST_CELLS", 100)
    monkeypatch.setattr("obskit.collector.store.cells._PRUNE_EVERY", 10)
    store = SpanStore()
    for minute in range(300):
        store.add([entry(minute + 1, timestamp=NOW + minute * MINUTE)])
        store.cells.update()
    ((count, oldest),) = store._database.rows("SELECT count(*), min(minute) FROM cells")
    assert 80 <= count <= 110
    assert oldest == NOW // MINUTE + 300 - count
    store.close()


@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_percentiles_are_right_to_nine_percent(part):
    source = random.Random(1)
    durations = sorted(int(source.lognormvariate(9, 2)) + 1 for _ in range(5_000))
    store = SpanStore()
    store.add([entry(number + 1, duration=duration) for number, duration in enumerate(durations)])
    (numbers,) = store.cells.between(NOW, NOW, None).values()
    exact = durations[int(part * len(durations))]
    assert abs(numbers.percentile(part) - exact) < 0.1 * exact
    assert Numbers().percentile(part) is None
    store.close()


def test_they_are_answered_as_json_and_for_prometheus(client):
    usual = {"traceId": "1", "name": "Get", "timestamp": NOW, "duration": 1000, "kind": "SERVER"}
    client.post([{**usual, "id": str(n), "localEndpoint": {"serviceName": 'a"b'}} for n in (1, 2)])
    (found,) = client.get(f"/api/obskit/v1/cells?endTs={NOW // 1000}&lookback=60000").json
    assert (found["service"], found["name"], found["calls"], found["errors"]) == ('a"b', "get", 2, 0)
    assert abs(found["p50"] - 1000) < 100
    assert client.get("/api/obskit/v1/cells").json == []
    assert client.get("/api/obskit/v1/cells?endTs=x").status == 400
    assert 'obskit_service_calls_total{service="a\\"b"} 2' in client.get("/prometheus").text


def test_they_are_told_by_workload_and_pod_where_tags_say(client):
    usual = {"traceId": "1", "timestamp": NOW, "kind": "SERVER", "localEndpoint": {"serviceName": "shop"}}
    tags = [{"k8s.pod.name": f"shop-{n}", "k8s.deployment.name": "shop"} for n in (1, 1, 2)]
    client.post([{**usual, "id": str(n + 1), "tags": its} for n, its in enumerate([*tags, {}])])
    window = f"endTs={NOW // 1000}&lookback=60000"
    found = client.get(f"/api/obskit/v1/cells?{window}&by=pod").json
    expected = [("", "", 1), ("shop", "shop-1", 2), ("shop", "shop-2", 1)]
    assert [(cell["workload"], cell["pod"], cell["calls"]) for cell in found] == expected
    (together,) = client.get(f"/api/obskit/v1/cells?{window}").json
    assert (together["calls"], "pod" in together) == (4, False)
    refused = client.get(f"/api/obskit/v1/cells?{window}&by=name")
    assert (refused.status, "use pod" in refused.text) == (400, True)


def test_numbers_of_a_file_from_before_workloads_stay(tmp_path):
    path = str(tmp_path / "x.db")
    store = SpanStore(path)
    store.add([entry(1)])
    assert read(store) == {("shop", "get /"): (1, 0)}
    store.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)
    connection.close()
    store = SpanStore(path)
    store.add([entry(2)])
    assert read(store) == {("shop", "get /"): (2, 0)}
    ((rows,),) = store._database.rows("SELECT count(*) FROM cells")
    assert rows == 1
    store.close()


def test_a_message_that_is_refused_is_not_counted_and_a_crash_loses_no_number(tmp_path):
    path, copy = str(tmp_path / "x.db"), str(tmp_path / "copy.db")
    store = SpanStore(path, max_spans=100)
    assert read(store) == {}
    store.add([entry(number) for number in range(1, 11)])
    with pytest.raises(TooMany):
        store.add([entry(number) for number in range(11, 200)])
    store.add([entry(number) for number in range(201, 211)])
    backup(path, copy)  # what the next process would find
    assert read(store) == {("shop", "get /"): (20, 0)}
    store.add([entry(211)])
    assert read(store) == {("shop", "get /"): (21, 0)}
    store.close()
    store = SpanStore(copy, max_spans=100)
    assert read(store) == {("shop", "get /"): (20, 0)}
    store.close()
