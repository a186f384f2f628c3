"""Health numbers of long times: added up from whole hours, they are those of the minutes."""

import random

import pytest

from obskit.collector.store.health_numbers import Numbers, bucket_of
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Endpoint, Span

MINUTE = 60_000_000
BEGIN = 1_700_000_000_000_000 // (60 * MINUTE) * 60  # the minute with which an hour begins


def entry(number, minute, **fields):
    chance = random.Random(number)
    return Span(
        trace_id=f"{number:016x}",
        id=f"{number:016x}",
        kind="SERVER",
        name=f"get {number % 3}",
        timestamp=minute * MINUTE + chance.randrange(MINUTE),
        duration=chance.randrange(1, 10**6),
        local_endpoint=Endpoint(f"service-{number % 4}"),
        tags={"error": "no", "k8s.pod.name": "pod"} if number % 7 == 0 else {},
        **fields,
    )


def expected(spans, first, last, key):
    found = {}
    for span in spans:
        if first <= span.timestamp // MINUTE <= last:
            numbers = found.setdefault(key(span), Numbers())
            numbers.count(1, "error" in span.tags, [(bucket_of(span.duration), 1)])
    return found


def service(span):
    return span.local_endpoint.service_name


@pytest.fixture(scope="module")
def filled():
    """Five hours of requests, a part of which came after somebody had asked."""
    store, chance = SpanStore(), random.Random(5)
    spans = [entry(number, BEGIN + chance.randrange(300)) for number in range(1, 601)]
    store.add(spans[:400])
    store.cells.by_minute(BEGIN * MINUTE, (BEGIN + 300) * MINUTE)
    store.add(spans[400:])
    yield store, spans
    store.close()


RANGES = [(0, 299), (7, 290), (60, 179), (61, 178), (30, 70), (119, 119), (-500, 900)]


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_minutes_of_hours_are_those_of_the_spans(filled, first, last):
    store, spans = filled
    first, last = BEGIN + first, BEGIN + last
    found = store.cells.by_minute(first * MINUTE, last * MINUTE)
    wanted = expected(spans, first, last, lambda span: (service(span), span.timestamp // MINUTE))
    assert {(name, minute): its for name, minutes in found.items() for minute, its in minutes.items()} == {
        key: numbers.minute for key, numbers in wanted.items()
    }


@pytest.mark.parametrize(("first", "last"), RANGES)
@pytest.mark.parametrize("name", [None, "service-1"])
def test_operations_of_hours_are_those_of_the_spans(filled, first, last, name):
    store, spans = filled
    first, last = BEGIN + first, BEGIN + last
    wanted = expected(
        [span for span in spans if name in {None, service(span)}],
        first,
        last,
        lambda span: (service(span), span.name, "", span.tags.get("k8s.pod.name", "")),
    )
    assert store.cells.by_place(first * MINUTE, last * MINUTE, name) == wanted


@pytest.mark.parametrize(("first", "step"), [(0, 1), (3, 7), (0, 5), (-25, 25), (0, 60), (0, 120), (-60, 180)])
@pytest.mark.parametrize("name", [None, "service-1"])
def test_steps_of_hours_are_those_of_the_spans(filled, first, step, name):
    store, spans = filled
    first, last = BEGIN + first, BEGIN + 299
    found = store.cells.in_steps(first, last, step, name)
    wanted = expected(
        [span for span in spans if name in {None, service(span)}],
        first,
        last,
        lambda span: (service(span), (span.timestamp // MINUTE - first) // step),
    )
    assert {
        (its, place): numbers
        for its, steps in found.items()
        for place, numbers in enumerate(steps)
        if numbers != Numbers()
    } == wanted


def test_hours_of_minutes_that_were_deleted_are_added_up_again(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.cells._MOST_CELLS", 100)
    monkeypatch.setattr("obskit.collector.store.cells._PRUNE_EVERY", 10)
    store = SpanStore()
    for minute in range(200):
        store.add([entry(minute * 12, BEGIN + minute)])
        found = store.cells.by_minute(BEGIN * MINUTE, (BEGIN + 200) * MINUTE)
    ((oldest,),) = store.database.rows("SELECT min(minute) FROM cells")
    assert sorted(found["service-0"]) == list(range(oldest, BEGIN + 200))
    store.close()


def test_a_clock_that_is_years_ahead_costs_no_more(filled):
    store, spans = filled
    store.add([entry(5000, BEGIN + 10**8)])
    found = store.cells.in_steps(0, 2**40, 2**38)
    assert sum(numbers.calls for steps in found.values() for numbers in steps) == len(spans) + 1
