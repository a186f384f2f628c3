"""Health numbers: counted once for each entry span, kept when the spans go."""

import random

import pytest

from obskit.collector.store.cells import Numbers
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Endpoint, Span

NOW = 1_700_000_000_000_000
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
