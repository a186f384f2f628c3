"""What waits for a destination: every span once, in order, whatever is merged, deleted or started anew meanwhile."""

import random

import pytest

from obskit.collector.store import blocks as blocks_module
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Span


def spans(numbers, trace=None):
    return [Span(trace_id=f"{trace or number:016x}", id=f"{number:016x}") for number in numbers]


def take(outbox):
    waiting = outbox.next()
    if waiting is None:
        return None
    outbox.done(waiting)
    return waiting


@pytest.mark.parametrize("seed", range(6))
def test_each_span_is_sent_once_and_in_order(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks_module, "MOST_SPANS", 20)
    monkeypatch.setattr("obskit.collector.store.tail.MOST_SPANS", 20)
    source = random.Random(seed)
    path = str(tmp_path / "x.db")
    store, next_number, sent = SpanStore(path), 1, {"a": [], "b": []}
    for name in sent:
        store.outbox(name)
    for _ in range(200):
        count = source.choice([1, 1, 2, 30])
        store.add(spans(range(next_number, next_number + count), source.choice([None, 1])))
        next_number += count
        for name in sent:
            for _ in range(source.randint(0, 3)):
                waiting = take(store.outbox(name))
                sent[name] += [int(span.id, 16) for span in waiting.spans] if waiting else []
        if source.random() < 0.05:
            store.close()
            store = SpanStore(path)
    for name, numbers in sent.items():
        outbox = store.outbox(name)
        assert outbox.count() == next_number - 1 - len(numbers)
        while waiting := take(outbox):
            numbers += [int(span.id, 16) for span in waiting.spans]
        assert outbox.count() == 0
        assert numbers == list(range(1, next_number))
    store.close()


def test_what_was_deleted_before_it_was_sent_is_counted():
    store = SpanStore(max_spans=1_000)
    outbox = store.outbox("a")
    for start in range(1, 5_001, 500):
        store.add(spans(range(start, start + 500)))
    assert outbox.count() == 5_000
    found = []
    while waiting := take(outbox):
        found.append(waiting)
    assert sum(waiting.missed for waiting in found) == 4_000
    assert [int(span.id, 16) for waiting in found for span in waiting.spans] == list(range(4_001, 5_001))
    store.close()


def test_a_damaged_block_is_counted_and_passed_over():
    store = SpanStore()
    outbox = store.outbox("a")
    for start in (1, 501, 1_001):
        store.add(spans(range(start, start + 500)))
    with store._database.transaction() as connection:
        connection.execute("UPDATE blocks SET data = 'x' WHERE number = 2")
    found = [take(outbox) for _ in range(3)]
    assert [(len(waiting.spans), waiting.missed) for waiting in found] == [(500, 0), (0, 500), (500, 0)]
    assert outbox.next() is None
    store.close()


def test_a_new_destination_begins_with_what_comes_next():
    store = SpanStore()
    store.add(spans([1]))
    outbox = store.outbox("a")
    assert (outbox.next(), outbox.count()) == (None, 0)
    store.add(spans([2]))
    assert [span.id for span in outbox.next().spans] == ["2".rjust(16, "0")]
    store.close()
