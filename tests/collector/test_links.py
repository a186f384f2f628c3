"""Links between services: those of Zipkin, for its own traces and for others."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from obskit.collector.deadline import Deadline, Stopped
from obskit.collector.links import links
from obskit.collector.query import parse_window
from obskit.collector.spare_time import SpareTime
from obskit.collector.store.link_patterns import LinkPatterns
from obskit.collector.store.outlines import Outline
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.json_v2 import decode_list, encode_list
from obskit.zipkin.model import Endpoint, Span
from tests.collector import reference_traces
from tests.collector.costs import grows_linearly

SHOP = Endpoint("shop")
DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "dependency_links.json").read_text(encoding="utf-8"))


def traces_of(case):
    """The traces of a case; skips where they are in a file that is not at hand."""
    return case["traces"] if "traces" in case else [reference_traces.load(Path(case["trace_file"]).stem)]


def by_name(found):
    return sorted(msgspec.to_builtins(found), key=lambda link: (link["parent"], link["child"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_the_links_are_those_of_zipkin(case):
    traces = [decode_list(json.dumps(trace).encode()) for trace in traces_of(case)]
    assert by_name(links(traces)) == by_name(case["links"])


def deep(count, kind, *, shared=False):
    """A chain of inner work (or of shared spans), and as many calls below its end."""
    parents = [None, *(f"{n}" for n in range(count - 1))]
    chain = [Span(trace_id="1", id=f"{n}", parent_id=parents[n], local_endpoint=SHOP) for n in range(count)]
    if shared:
        chain += [msgspec.structs.replace(span, shared=True) for span in chain]
    end = {"parent_id": f"{count - 1}", "kind": kind, "local_endpoint": SHOP, "remote_endpoint": Endpoint("stock")}
    return [*chain, *(Span(trace_id="1", id=f"c{n}", **end) for n in range(count))]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"])
def test_calls_below_a_deep_chain_cost_what_the_spans_cost(kind, shared):
    assert grows_linearly(lambda count: links([deep(count, kind, shared=shared)]), 1000)


def test_a_shared_half_without_parent_has_that_of_its_other_half_whatever_its_kind():
    failed = Span(trace_id="1", id="1", kind="CLIENT", local_endpoint=Endpoint("b"), tags={"error": ""})
    inner = Span(trace_id="1", id="6", parent_id="1")
    served = Span(trace_id="1", id="6", kind="SERVER", shared=True, local_endpoint=Endpoint("d"))
    assert by_name(links([[failed, inner, served]])) == [{"parent": "b", "child": "d", "callCount": 1, "errorCount": 1}]


NOW = 1_700_000_000_000  # milliseconds
CALL = [
    {"id": "1", "kind": "CLIENT", "localEndpoint": {"serviceName": "shop"}, "timestamp": NOW * 1000},
    {"id": "1", "kind": "SERVER", "localEndpoint": {"serviceName": "stock"}, "shared": True, "tags": {"error": ""}},
]
LINK = {"parent": "shop", "child": "stock", "callCount": 1, "errorCount": 1}


def call(*trace_ids):
    return [{"traceId": trace_id, **span} for trace_id, span in zip(trace_ids, CALL, strict=True)]


def test_the_api_counts_the_calls_of_the_traces_in_the_window(client):
    client.post(call("a", "a") + call("b", "b"))
    twice = {"parent": "shop", "child": "stock", "callCount": 2, "errorCount": 2}
    for path in ("/api/v2/dependencies", "/zipkin/api/v2/dependencies"):
        assert client.get(f"{path}?endTs={NOW}").json == [twice]
        assert client.get(f"{path}?endTs={NOW}&lookback=1").json == [twice]
        assert client.get(f"{path}?endTs={NOW - 1}").json == []
        assert client.get(f"{path}?endTs={NOW + 10}&lookback=5").json == []


def test_spans_whose_trace_id_was_cut_to_64_bits_belong_to_the_trace(client):
    client.post(call("463ac35c9f6413ad48485a3953bb6124", "48485a3953bb6124"))
    assert client.get(f"/api/v2/dependencies?endTs={NOW}").json == [LINK]


@pytest.mark.parametrize("query", ["", "endTs=", "endTs=0", "endTs=x", "endTs=1&lookback=0", "endTs=1&lookback=x"])
def test_a_window_that_makes_no_sense_is_refused_with_the_parameter(shared, query):
    answer = shared.get(f"/api/v2/dependencies?{query}")
    assert answer.status == 400
    assert ("lookback" if "lookback" in query else "endTs") in answer.text


def random_trace(source, number, minute):
    """Calls between services, in pieces that come in several messages; some fail, some have no time."""
    root = {"trace_id": f"{number:016x}", "local_endpoint": Endpoint("gateway")}
    begin = (NOW // 60_000 + minute) * 60_000_000
    spans = [Span(id="1" * 16, kind="SERVER", timestamp=begin, **root)]
    for call in range(source.randint(1, 5)):
        call_id, service = f"{call + 2:016x}", Endpoint(source.choice("abc"))
        fields = {"id": call_id, "parent_id": "1" * 16, "timestamp": source.choice([None, begin + call])}
        tags = source.choice([{}, {}, {"error": ""}])
        spans.append(Span(kind="CLIENT", remote_endpoint=service, **fields, **root))
        spans.append(Span(kind="SERVER", shared=True, tags=tags, **fields, **{**root, "local_endpoint": service}))
    return spans


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limits", [{"max_spans": 500}, {"max_bytes": 30_000}], ids=["spans", "bytes"])
def test_links_outlive_their_traces(seed, limits, monkeypatch, tmp_path):
    """Of whole minutes they stay the same, whatever of them is stored: a trace may lose spans one after another."""
    monkeypatch.setattr("obskit.collector.store.blocks.MOST_SPANS", 50)
    monkeypatch.setattr("obskit.collector.store.eviction.MOST_SPANS", 50)
    monkeypatch.setattr("obskit.collector.store.tail.MOST_SPANS", 50)
    source, everything = random.Random(seed), {}
    store = SpanStore(str(tmp_path / "x.db"), **limits)
    for step in range(60):
        traces = [random_trace(source, step * 10 + n + 1, step // 4) for n in range(10)]
        everything.setdefault(step // 4, []).extend(traces)
        spans = [span for trace in traces for span in trace]
        source.shuffle(spans)
        for begin in range(0, len(spans), 20):
            store.add(spans[begin : begin + 20])
        if step % 25 == 20:
            store.close()
            store = SpanStore(str(tmp_path / "x.db"), **limits)
    for first, last in ((0, 14), (0, 3), (5, 9)):
        end = (NOW // 60_000 + last + 1) * 60_000 - 1
        query = parse_window({"endTs": str(end), "lookback": str((last - first + 1) * 60_000 - 1)})
        expected = links(trace for minute in range(first, last + 1) for trace in everything[minute])
        assert by_name(store.links(query, Deadline(60))) == by_name(expected)
    store.close()


def odd_trace(source, number):
    """A trace of few spans: parents that are missing, circles, ids that are there twice, several roots or none."""
    ids = [f"{source.randrange(1 << 60):x}" for _ in range(source.randint(1, 4))]
    names = [None, Endpoint(), Endpoint("a"), Endpoint("b"), Endpoint("b", "1.2.3.4")]
    return [
        Span(
            trace_id=f"{number + 1:x}",
            id=its_id if source.random() < 0.8 else source.choice(ids),
            parent_id=source.choice([None, "f", *ids, *ids]),
            kind=source.choice([None, "CLIENT", "SERVER", "PRODUCER", "CONSUMER"]),
            local_endpoint=source.choice(names),
            remote_endpoint=source.choice(names),
            tags=source.choice([{}, {}, {"error": ""}]),
            shared=source.random() < 0.05,
            timestamp=source.choice([1, 2, 3, None]) if place else 1,
        )
        for place, its_id in enumerate(ids)
    ]


def with_other_ids(source, trace):
    """The same trace with ids in another order."""
    ids = sorted({span.id for span in trace} | {"f"})
    other = dict(zip(ids, source.sample(ids, len(ids)), strict=True))
    return [msgspec.structs.replace(span, id=other[span.id], parent_id=other.get(span.parent_id)) for span in trace]


@pytest.mark.parametrize("seed", range(4))
def test_traces_of_one_shape_have_the_links_that_each_has_alone(seed, monkeypatch):
    monkeypatch.setattr("obskit.collector.store.link_patterns._MOST_SHAPES", 300)
    source = random.Random(seed)
    traces = [odd_trace(source, number) for number in range(1_000)]
    traces += [with_other_ids(source, trace) for trace in traces for _ in range(2)]
    patterns = LinkPatterns()
    for trace in traces:
        outlines = msgspec.json.decode(encode_list(trace), type=list[Outline])
        assert patterns.add(outlines) or patterns.add_spans(trace, outlines)
    assert by_name(patterns.total()) == by_name(links(traces))
    assert len(patterns._of_shape) < len(traces)  # some are alike


def test_only_so_many_links_are_kept_and_the_oldest_go(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.link_minutes._MOST", 50)
    monkeypatch.setattr("obskit.collector.store.link_minutes._PRUNE_EVERY", 10)
    store = SpanStore(max_spans=10)
    for minute in range(200):
        call = {"kind": "CLIENT", "local_endpoint": Endpoint("a"), "remote_endpoint": Endpoint("b")}
        store.add([Span(trace_id=f"{minute + 1:016x}", id="1" * 16, timestamp=(minute + 1) * 60_000_000, **call)])
    ((count, oldest),) = store._database.rows("SELECT count(*), min(minute) FROM link_minutes")
    assert 40 <= count <= 60
    assert oldest > 120
    store.close()


def test_links_are_counted_while_nothing_comes(monkeypatch):
    monkeypatch.setattr("obskit.collector.spare_time._IDLE", 0.05)
    store = SpanStore()
    call = {"kind": "CLIENT", "local_endpoint": Endpoint("a"), "remote_endpoint": Endpoint("b")}
    spare_time = SpareTime(store)
    try:
        for first in range(1, 10_001, 500):
            traces = range(first, first + 500)
            store.add([Span(trace_id=f"{n:016x}", id="1" * 16, timestamp=NOW * 1000, **call) for n in traces])
        deadline = time.monotonic() + 30
        while store._database.rows("SELECT count(*) FROM links") != [(2,)] and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        spare_time.stop()
    assert store.count_ahead() is False
    read = []
    outlines = store._reader.outlines
    monkeypatch.setattr(store._reader, "outlines", lambda key: read.append(key) or outlines(key))
    query = parse_window({"endTs": str(NOW), "lookback": "1000"})
    assert by_name(store.links(query, Deadline(60))) == [{"parent": "a", "child": "b", "callCount": 10_000}]
    assert 0 < len(read) < 20
    store.close()


def test_links_that_take_too_long_are_counted_whatever_comes_so_that_asking_again_gets_an_answer(monkeypatch):
    monkeypatch.setattr("obskit.collector.spare_time._IDLE", 0.01)
    monkeypatch.setattr("obskit.collector.spare_time._LITTLE", -1.0)  # it is never quiet
    monkeypatch.setattr(SpareTime, "_is_idle", lambda _: False)
    store = SpanStore()
    query = parse_window({"endTs": str(NOW), "lookback": "1000"})
    spare_time = SpareTime(store)
    try:
        for first in range(1, 10_001, 500):
            store.add([call_of(number) for number in range(first, first + 500)])
        left = Deadline(60)
        left.client_left = True
        with pytest.raises(Stopped):
            store.links(query, left)
        assert not store.links_wanted
        with pytest.raises(Stopped, match="ask again"):
            store.links(query, Deadline(-1))
        deadline = time.monotonic() + 30
        while store.links_wanted and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        spare_time.stop()
    assert store._database.rows("SELECT count(*) FROM links") == [(2,)]
    assert by_name(store.links(query, Deadline(60))) == [{"parent": "a", "child": "b", "callCount": 10_000}]
    store.close()


def test_threads_that_ask_for_links_at_once_count_them_once(monkeypatch):
    store = SpanStore()
    for first in range(1, 10_001, 500):
        store.add([call_of(number) for number in range(first, first + 500)])
    counted = []
    count = store._links._count
    monkeypatch.setattr(store._links, "_count", lambda keys: counted.append(keys[0]) or count(keys))
    query = parse_window({"endTs": str(NOW), "lookback": "1000"})
    with ThreadPoolExecutor(4) as pool:
        answers = [by_name(links) for links in pool.map(lambda _: store.links(query, Deadline(60)), range(4))]
    assert answers == [[{"parent": "a", "child": "b", "callCount": 10_000}]] * 4
    assert len(counted) == len(set(counted))
    store.close()


def test_spare_time_ends_when_told_and_outlives_a_store_that_fails():
    store = SpanStore()
    store.add([Span(trace_id="1", id="1")])
    store.close()
    spare_time = SpareTime(store)
    spare_time._count()
    spare_time.stop()
    assert not spare_time._thread.is_alive()


def call_of(number):
    call = {"kind": "CLIENT", "local_endpoint": Endpoint("a"), "remote_endpoint": Endpoint("b")}
    return Span(trace_id=f"{number:016x}", id="1" * 16, timestamp=NOW * 1000, **call)


def test_what_is_too_little_for_a_stored_cell_is_counted_once_until_it_changes(monkeypatch):
    store = SpanStore()
    for first in (1, 501, 1001):
        store.add([call_of(number) for number in range(first, first + (500 if first < 1001 else 20))])
    read = []
    outlines = store._reader.outlines
    monkeypatch.setattr(store._reader, "outlines", lambda key: read.append(key) or outlines(key))
    query = parse_window({"endTs": str(NOW), "lookback": "1000"})

    def calls():
        read.clear()
        return [(link.parent, link.child, link.call_count) for link in store.links(query, Deadline(60))]

    assert calls() == [("a", "b", 1_020)]
    assert read
    assert calls() == [("a", "b", 1_020)]
    assert not read
    other = {"kind": "SERVER", "local_endpoint": Endpoint("c"), "timestamp": NOW * 1000}
    store.add([Span(trace_id=f"{7:016x}", id="2" * 16, parent_id="1" * 16, **other)])
    assert calls() == [("a", "b", 1_019), ("a", "c", 1)]
    earlier = parse_window({"endTs": str(NOW - 1), "lookback": "1000"})
    assert store.links(earlier, Deadline(60)) == []
    store.close()


def test_links_are_counted_amid_a_light_load_but_for_the_newest(monkeypatch):
    monkeypatch.setattr("obskit.collector.spare_time._LITTLE", 1e9)  # whatever else this machine computes
    monkeypatch.setattr("obskit.collector.spare_time._IDLE", 0.05)
    monkeypatch.setattr(SpareTime, "_is_idle", lambda _: False)
    store = SpanStore()
    for first in range(1, 10_001, 500):
        store.add([call_of(number) for number in range(first, first + 500)])
    spare_time = SpareTime(store)
    try:
        deadline = time.monotonic() + 30
        while store._database.rows("SELECT count(*) FROM links") == [(0,)] and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        spare_time.stop()
    assert store._database.rows("SELECT count(*) FROM links") == [(1,)]
    assert store.count_ahead(newest=False) is False
    assert store.count_ahead() is True
    store.close()
