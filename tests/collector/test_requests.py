"""Every stored request, found by what it is."""

import random
import time
from contextlib import nullcontext
from unittest.mock import patch

import pytest

from obskit.collector.deadline import Deadline
from obskit.collector.pages import scatter
from obskit.collector.pages.duration_scale import Scale
from obskit.collector.periods import Period
from obskit.collector.store import packed
from obskit.collector.store.requests import Wanted
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Endpoint, Span

NOW = 1_700_000_000_000_000
EVER = Wanted(0, 2**62)


def forever():
    return Deadline(float("inf"))


def made(number):
    chance = random.Random(number)
    return Span(
        trace_id=f"{number:016x}{number:016x}",
        id=f"{number:016x}",
        parent_id="1" if number % 3 else None,
        kind="SERVER" if number % 2 else None,
        name=f"get {number % 5}",
        timestamp=NOW + number * 100_000,
        duration=chance.randrange(1, 3_000_000),
        local_endpoint=Endpoint(f"service-{number % 4}"),
        tags={"error": "no"} if number % 7 == 0 else {},
    )


SPANS = [made(number) for number in range(1, 2001)]
ENTRIES = [span for span in SPANS if span.kind or not span.parent_id]


@pytest.fixture(scope="module", params=["mixed", "a service at a time", "from before there were shares"])
def store(request):
    """Blocks with several services, blocks with one, and blocks that do not say how much each has."""
    before = {"_shares": lambda *_: []} if request.param.startswith("from") else {}
    ordered = sorted(SPANS, key=lambda span: span.local_endpoint.service_name) if "time" in request.param else SPANS
    with patch.multiple(packed, **before) if before else nullcontext():
        store = SpanStore()
        for start in range(0, len(ordered), 37):
            store.add(ordered[start : start + 37])
        yield store
        store.close()


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (EVER, lambda span, end: True),
        (Wanted(NOW + 30_000_000, NOW + 90_000_000), lambda span, end: NOW + 30_000_000 <= end <= NOW + 90_000_000),
        (Wanted(0, 2**62, "service-1"), lambda span, end: span.local_endpoint.service_name == "service-1"),
        (
            Wanted(0, 2**62, "service-2", "get 3", failed=True),
            lambda span, end: (
                span.local_endpoint.service_name == "service-2" and span.name == "get 3" and "error" in span.tags
            ),
        ),
        (
            Wanted(0, 2**62, "service-0", failed=True),
            lambda span, end: span.local_endpoint.service_name == "service-0" and "error" in span.tags,
        ),
        (
            Wanted(NOW + 30_000_000, NOW + 90_000_000, "service-3"),
            lambda span, end: (
                span.local_endpoint.service_name == "service-3" and NOW + 30_000_000 <= end <= NOW + 90_000_000
            ),
        ),
        (Wanted(0, 2**62, name="get 3"), lambda span, end: span.name == "get 3"),
        (
            Wanted(0, 2**62, shortest=10**6, longest=2_000_000),
            lambda span, end: 10**6 <= span.duration <= 2 * 10**6,
        ),
        (Wanted(0, 2**62, failed=True), lambda span, end: "error" in span.tags),
        (Wanted(0, 2**62, "nobody"), lambda span, end: False),
        (Wanted(0, 2**62, "get 3"), lambda span, end: False),
        (Wanted(0, NOW), lambda span, end: False),
    ],
)
def test_requests_are_those_entry_spans_which_a_look_at_every_span_finds(store, wanted, holds):
    found = store.requests.find(wanted, forever())
    expected = [span for span in ENTRIES if holds(span, span.timestamp + span.duration)]
    assert sorted(one.trace_id for one in found) == sorted(span.trace_id for span in expected)
    assert len(found) == len(expected)
    failed = [span for span in expected if "error" in span.tags]
    assert found.errors == len(found.failed()) == len(failed)
    assert sorted(one.trace_id for one in found.failed()) == sorted(span.trace_id for span in failed)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    ("name", "key"), [("ends", lambda s: s.timestamp + s.duration), ("took", lambda s: s.duration)]
)
def test_the_extremes_come_in_order(store, name, key, largest):
    found = store.requests.find(EVER, forever()).extremes(name, 20, largest=largest)
    assert [getattr(one, name.removesuffix("s")) for one in found] == sorted(map(key, ENTRIES), reverse=largest)[:20]


def test_what_is_stored_later_is_found_and_what_made_room_is_not():
    store = SpanStore(max_spans=1000)
    for start in range(0, len(SPANS), 100):
        store.add(SPANS[start : start + 100])
        store.requests.find(EVER, forever())
    found = store.requests.find(EVER, forever())
    stored = {one.trace_id for one in found}
    assert ENTRIES[-1].trace_id in stored
    assert all(store.trace(trace_id) for trace_id in stored)
    assert len(stored) < len(ENTRIES)
    store.close()


@pytest.mark.parametrize("service", [None, "service-1"])
def test_many_requests_are_counted_where_they_are(store, service, monkeypatch):
    """To 9 % and 10 s: no cell of the rough count is further than this from the exact one."""
    found = store.requests.find(Wanted(0, 2**62, service), forever())
    period = Period(NOW, NOW + 205_000_000)
    exact = scatter._density(found, period, Scale(0, 3_000_000), 10, 3)
    monkeypatch.setattr(scatter, "MOST_DOTS", 10)
    rough = scatter._density(found, period, Scale(0, 3_000_000), 10, 3)
    for cells in (exact, rough):
        assert sum(requests for requests, _ in cells.values()) == len(found)
        assert sum(failed for _, failed in cells.values()) == found.errors
    assert sum(abs(rough.get(cell, [0])[0] - count) for cell, (count, _) in exact.items()) < len(found) / 2


def test_a_search_stops_when_its_client_has_left(store):
    deadline = forever()
    deadline.client_left = True
    with pytest.raises(Exception, match="the client has left"):
        store.requests.find(EVER, deadline)


def test_finding_again_reads_no_block_again(store, monkeypatch):
    store.requests.find(EVER, forever())
    monkeypatch.setattr(store.requests._reader, "block", lambda key: pytest.fail("read again"))
    begun = time.process_time()
    assert len(store.requests.find(EVER, forever())) == len(ENTRIES)
    assert time.process_time() - begun < 5
