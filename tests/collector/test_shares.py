"""A full store: who makes room, and who keeps what it has."""

import random
import sqlite3
import threading
from collections import Counter, defaultdict

import pytest

from obskit.collector.store import blocks as blocks_module
from obskit.collector.store.blocks import unpack
from obskit.collector.store.database import StoreError
from obskit.collector.store.shares import Shares
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Endpoint, Span

NOW = 1_700_000_000_000_000


def spans_of(service, numbers, **fields):
    place = Endpoint(service) if service else None
    return [Span(trace_id=f"{n:016x}", id=f"{n:016x}", name="get", local_endpoint=place, **fields) for n in numbers]


def stored(store):
    """Each service with the numbers of its spans that are stored, in order of arrival."""
    found = defaultdict(list)
    for (data,) in store._database.rows("SELECT data FROM blocks ORDER BY number"):
        for span in unpack(data):
            found[span.local_endpoint.service_name if span.local_endpoint else None].append(int(span.id, 16))
    return found


def check_books(store):
    """What is noted of blocks is what is in them."""
    rows = store._database.rows("SELECT number, last, spans, size, data FROM blocks")
    assert (sum(row[2] for row in rows), sum(row[3] for row in rows)) == (store._table.spans, store._table.size)
    held = store._database.rows("SELECT service, sum(spans), sum(bytes) FROM held GROUP BY service")
    assert Counter({service: spans for service, spans, _ in held}) == store._table.shares._spans
    assert Counter({service: size for service, _, size in held}) == store._table.shares._bytes
    assert sorted(spans for _, spans, _ in held) == sorted(map(len, stored(store).values()))
    parts = set(store._database.rows("SELECT trace, number FROM parts"))
    parts |= {(trace, number) for trace, numbers in store._index._unwritten.items() for number in numbers}
    for number, last, _, _, data in rows:
        for span in unpack(data):
            trace = int(span.trace_id[-16:], 16)
            assert any((trace, part) in parts for part in range(number, last + 1))
    assert all(any(number <= part <= last for number, last, *_ in rows) for _, part in parts)


@pytest.mark.parametrize("limits", [{"max_spans": 4_000}, {"max_bytes": 400_000}], ids=["spans", "bytes"])
def test_a_noisy_service_makes_room_and_a_quiet_one_keeps_its_spans(limits, tmp_path):
    path = str(tmp_path / "x.db")
    store = SpanStore(path, **limits)
    number, quiet = 1_000_000, []
    for step in range(60):
        store.add(spans_of("noisy", range(number, number + 400)))
        number += 400
        if step % 4 == 0:
            quiet += range(step * 10 + 1, step * 10 + 6)
            store.add(spans_of("quiet", quiet[-5:]))
        if step % 20 == 10:
            store.close()
            store = SpanStore(path, **limits)
    found = stored(store)
    assert found["quiet"] == quiet
    assert found["noisy"] == list(range(number - len(found["noisy"]), number))
    assert store.service_names() == ["noisy", "quiet"]
    check_books(store)
    store.close()


def test_writers_at_once_do_not_take_each_others_share():
    store = SpanStore(max_spans=3_000)
    failures = []

    def write(service, first, count, messages):
        try:
            for message in range(messages):
                begin = first + message * count
                store.add(spans_of(service, range(begin, begin + count)))
        except StoreError as error:
            failures.append(error)

    writers = [("quiet", 1, 5, 40), ("noisy", 10_000, 300, 40), ("loud", 1_000_000, 300, 40)]
    threads = [threading.Thread(target=write, args=args) for args in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert stored(store)["quiet"] == list(range(1, 201))
    check_books(store)
    store.close()


def send(outbox, sent):
    """Sends all that waits, and returns how many were missed."""
    missed = 0
    while waiting := outbox.next():
        outbox.done(waiting)
        sent += [int(span.id, 16) for span in waiting.spans]
        missed += waiting.missed
    return missed


@pytest.mark.parametrize("seed", range(4))
def test_no_service_gets_below_its_share_whatever_comes(seed, tmp_path, monkeypatch):
    """And what waits for a destination is sent once, or counted as missed."""
    monkeypatch.setattr(blocks_module, "MOST_SPANS", 40)
    monkeypatch.setattr("obskit.collector.store.tail.MOST_SPANS", 40)
    monkeypatch.setattr("obskit.collector.store.eviction.MOST_SPANS", 40)
    source = random.Random(seed)
    services = [None, "a", "b", "c", "d"]
    weights = [source.choice([1, 3, 40]) for _ in services]
    path, number, sent, missed, most = str(tmp_path / "x.db"), 1, [], 0, Counter()
    store = SpanStore(path, max_spans=300)
    store.outbox("x")
    for step in range(200):
        message = []
        for _ in range(source.randint(1, 30)):
            (service,) = source.choices(services, weights)
            trace = source.choice([number, max(number - 200, 1), number // 7 + 1])
            place = Endpoint(service) if service else None
            message.append(Span(trace_id=f"{trace:016x}", id=f"{number:016x}", local_endpoint=place))
            number += 1
        store.add(message)
        share = 300 / 2 / len(services)
        found = {service: len(numbers) for service, numbers in stored(store).items()}
        for service in services:
            most[service] = max(most[service], found.get(service, 0))
            assert found.get(service, 0) >= min(most[service], share - 1), (step, service)
        if step % 30 == 10:  # the destination is away in between
            missed += send(store.outbox("x"), sent)
            assert {number for numbers in stored(store).values() for number in numbers} <= set(sent)
        if source.random() < 0.05:
            store.close()
            store = SpanStore(path, max_spans=300)
    check_books(store)
    missed += send(store.outbox("x"), sent)
    assert sent == sorted(set(sent))
    assert len(sent) + missed >= number - 1
    store.close()


def test_what_is_left_of_many_blocks_is_joined():
    store = SpanStore(max_spans=5_000)
    for step in range(100):
        first = step * 1_000 + 1
        store.add(spans_of("noisy", range(first, first + 495)) + spans_of("quiet", range(first + 495, first + 500)))
    assert len(stored(store)["quiet"]) == 500
    ((count,),) = store._database.rows("SELECT count(*) FROM blocks")
    assert count < 15
    assert len(store.trace(f"{496:016x}")) == 1
    store.close()


def test_what_made_room_is_stored_when_it_is_sent_again_and_the_rest_is_not_stored_twice():
    store = SpanStore(max_spans=1_000)
    first = spans_of("noisy", range(1, 496)) + spans_of("quiet", range(496, 501))
    store.add(first)
    for step in range(1, 5):
        store.add(spans_of("noisy", range(step * 1_000, step * 1_000 + 480)))
    assert stored(store)["noisy"][0] >= 1_000
    store.add(first)
    found = stored(store)
    assert sorted(found["quiet"]) == list(range(496, 501))
    assert found["noisy"][-495:] == list(range(1, 496))
    store.close()


def test_the_share_is_an_equal_part_of_a_half_and_the_one_with_the_most_is_above_it():
    shares = Shares([(1, 60, 1), (2, 30, 1), (3, 10, 98)])
    assert shares.excess(in_bytes=False) == {1: pytest.approx(60 - 100 / 6), 2: pytest.approx(30 - 100 / 6)}
    assert set(shares.excess(in_bytes=True)) == {3}
    equal = Shares((number, 1, 1) for number in range(1_000))
    assert len(equal.excess(in_bytes=False)) == 1_000


def test_a_file_of_the_second_schema_is_counted_by_services(tmp_path):
    path = str(tmp_path / "x.db")
    store = SpanStore(path)
    store.add(spans_of("quiet", range(1, 11)))
    store.add(spans_of("noisy", range(1_000, 1_990)))
    store.add(spans_of("noisy", range(2_000, 2_500)))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE held")
        connection.execute("DROP TABLE names")
        connection.execute("CREATE TABLE names (digest BLOB PRIMARY KEY, list BLOB, name TEXT, number INTEGER)")
        connection.execute("UPDATE blocks SET data = 'x' WHERE number = (SELECT max(number) FROM blocks)")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    store = SpanStore(path, max_spans=1_500)
    assert store.service_names() == ["noisy", "quiet"]
    for step in range(3, 9):
        store.add(spans_of("noisy", range(step * 1_000, step * 1_000 + 500)))
    assert stored(store)["quiet"] == list(range(1, 11))
    check_books(store)
    store.close()
