"""The storage engine: blocks, what finds them again, and what it survives."""

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
import zlib

import pytest

from obskit.collector.deadline import Deadline
from obskit.collector.links import links
from obskit.collector.query import parse_query, parse_window
from obskit.collector.server import CollectorServer
from obskit.collector.store import blocks as blocks_module
from obskit.collector.store import chunks
from obskit.collector.store.blocks import trace_numbers
from obskit.collector.store.database import StoreError, backup
from obskit.collector.store.filters import build, may_hold, places_of, token, tokens_of
from obskit.collector.store.recent import RecentSpans
from obskit.collector.store.search import by_moment
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.ids import trace_key
from obskit.zipkin.json_v2 import encode_list, encode_span
from obskit.zipkin.model import Annotation, Endpoint, Span

from .conftest import client_of
from .test_links import by_name

NOW = 1_700_000_000_000_000
SERVICES = ("shop", "stock", "\x1e", "a\x00b")


def random_span(source, trace, *, timeless=True):
    tags = {source.choice("abc"): source.choice(["", "x", "y\x1ez"]) for _ in range(source.randint(0, 2))}
    return Span(
        trace_id=f"{trace:016x}" if source.random() < 0.9 else f"{1:016x}{trace:016x}",
        id=f"{source.randint(1, 9):016x}",
        parent_id=source.choice([None, "1" * 16]),
        name=source.choice([None, "get", "put"]),
        timestamp=source.choice([None] * timeless + [NOW + source.randint(-2, 2) * 1_000_000]),
        duration=source.choice([None, 5, 5000]),
        local_endpoint=source.choice([None, Endpoint(source.choice(SERVICES))]),
        remote_endpoint=source.choice([None, Endpoint(source.choice(SERVICES))]),
        annotations=[Annotation(NOW, source.choice("abc"))] if source.random() < 0.2 else [],
        tags=tags,
    )


def random_query(source):
    params = {"endTs": str(NOW // 1000 + source.randint(-2500, 4000)), "lookback": str(source.randint(1, 9000))}
    wanted = {
        "serviceName": source.choice(SERVICES),
        "spanName": source.choice(["get", "put"]),
        "remoteServiceName": source.choice(SERVICES),
        "annotationQuery": source.choice(["a", "b=x", "a and c", "a=y\x1ez"]),
        "minDuration": "6",
    }
    for name in source.sample(sorted(wanted), source.randint(0, 3)):
        params[name] = wanted[name]
    return parse_query({**params, "limit": "1000"})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("largest", [1, 7, 400])
def test_a_search_finds_what_looking_at_every_trace_finds(seed, largest, monkeypatch):
    """Whatever the size of messages and blocks, and however the spans of a trace are strewn over them."""
    monkeypatch.setattr(blocks_module, "MOST_SPANS", 40)
    source = random.Random(seed)
    timeless = seed % 2 == 0
    spans = [random_span(source, source.randint(1, 120), timeless=timeless) for _ in range(600)]
    store = SpanStore()
    kept = {}
    at = 0
    while at < len(spans):
        message = spans[at : at + source.randint(1, largest)]
        store.add(message)
        at += len(message)
    for span in spans:
        kept.setdefault(span.trace_id[-16:], {}).setdefault(encode_span(span), span)
    for _ in range(40):
        query = random_query(source)
        expected = []
        for group in kept.values():
            if query.matches(by_moment(list(group.values()))):
                by_id = {}
                for span in by_moment(list(group.values())):
                    by_id.setdefault(trace_key(span.trace_id), []).append(span)
                expected += filter(query.matches, by_id.values())
        found = list(store.search(query, Deadline(60)))
        assert sorted(map(encode_list, found)) == sorted(map(encode_list, expected)), query
        newest = timeless or [moment_in(query, kept[spans[0].trace_id[-16:]].values()) for spans in found]
        assert timeless or newest == sorted(newest, reverse=True), query
    store.close()


def moment_in(query, spans):
    """The newest moment of a trace within the window."""
    first, last = query.window
    return max(span.timestamp for span in spans if span.timestamp and first <= span.timestamp <= last)


def random_call(source, trace):
    moment = NOW + trace * 100_000 + source.randint(-150_000, 150_000)
    return Span(
        trace_id=f"{trace:016x}",
        id=f"{source.randint(1, 9):016x}",
        parent_id=source.choice([None, f"{source.randint(1, 9):016x}"]),
        kind=source.choice(["CLIENT", "SERVER"]),
        timestamp=moment if source.random() < 0.9 else None,
        local_endpoint=Endpoint(source.choice("abc")),
        remote_endpoint=source.choice([None, Endpoint(source.choice("abc"))]),
        tags=source.choice([{}, {"error": ""}]),
    )


@pytest.mark.parametrize("seed", range(6))
def test_links_from_cells_are_those_of_the_traces(seed, monkeypatch):
    """While spans of older traces still come, and the oldest go."""
    monkeypatch.setattr(blocks_module, "MOST_SPANS", 20)
    monkeypatch.setattr("obskit.collector.store.tail.MOST_SPANS", 20)
    monkeypatch.setattr("obskit.collector.store.link_cells._CELL", 60)
    monkeypatch.setattr("obskit.collector.store.link_cells._LARGE", 200)
    monkeypatch.setattr("obskit.collector.store.link_cells._YOUNG", 2)
    monkeypatch.setattr("obskit.collector.store.trace_index._MOST_UNWRITTEN", 50)
    source = random.Random(seed)
    store = SpanStore(max_spans=900)
    for step in range(150):
        near = step * 2
        traces = [max(1, near - source.choice([0, 0, 1, 5, 60])) for _ in range(source.randint(1, 12))]
        store.add([random_call(source, trace) for trace in traces])
        if step % 5:
            continue
        last = NOW // 1000 + source.randint(near - 100, near) * 100
        window = {"endTs": str(last), "lookback": str(source.choice([500, 3_000, 20_000, last]))}
        query = parse_window(window)
        stored = {
            trace for (traces,) in store._database.rows("SELECT traces FROM blocks") for trace in trace_numbers(traces)
        }
        groups = store._reader.traces(list(stored)).values()
        inside = [by_moment(spans) for spans in groups if is_in(spans, *query.window_by_millisecond)]
        while source.random() < 0.7 and store.count_ahead():
            pass
        found = store._links.count(*query.window_by_millisecond, Deadline(60))
        assert by_name(found.as_list()) == by_name(links(inside)), (step, window)
    while store.count_ahead():
        pass
    ((cells, large),) = store._database.rows("SELECT count(*), max(spans) FROM links")
    assert cells > 3
    assert large >= 200
    store.close()


def is_in(spans, first, last):
    return any(first <= (span.timestamp or 0) <= last for span in spans)


def test_links_of_many_traces_are_read_from_cells(monkeypatch):
    store = SpanStore()
    call = {"kind": "CLIENT", "local_endpoint": Endpoint("a"), "remote_endpoint": Endpoint("b")}
    for number in range(20):
        first = number * 600 + 1
        traces = range(first, first + 600)
        store.add([Span(trace_id=f"{trace:016x}", id="1" * 16, timestamp=NOW + number, **call) for trace in traces])
    query = parse_window({"endTs": str(NOW // 1000 + 1), "lookback": "10"})
    expected = [{"parent": "a", "child": "b", "callCount": 12_000}]
    assert by_name(store.links(query, Deadline(60))) == expected
    read = []
    block = store._reader.block
    monkeypatch.setattr(store._reader, "block", lambda key, **how: read.append(key) or block(key, **how))
    assert by_name(store.links(query, Deadline(60))) == expected
    assert len(read) < 40
    store.close()


def test_of_several_roots_that_counts_which_counts_in_zipkin():
    """Zipkin keeps spans of one moment together, so the root that came second is the first of the trace."""
    store = SpanStore()
    moments = ((NOW - 5_000, "1" * 16), (NOW, None), (NOW - 5_000, None))
    store.add(
        [Span(trace_id="1" * 16, id=f"{n + 2:016x}", timestamp=at, parent_id=up) for n, (at, up) in enumerate(moments)]
    )
    for end, found in ((0, 0), (-5, 1)):
        query = parse_query({"endTs": str(NOW // 1000 + end), "lookback": "1"})
        assert len(list(store.search(query, Deadline(60)))) == found
    store.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_search_by_the_index_of_texts_finds_what_one_by_all_filters_does(seed, monkeypatch, tmp_path):
    """While blocks are merged and the oldest spans of noisy services go; also in the next process."""
    for name in ("blocks", "tail", "eviction"):
        monkeypatch.setattr(f"obskit.collector.store.{name}.MOST_SPANS", 20)
    monkeypatch.setattr("obskit.collector.store.text_index._MOST_BLOCKS", 8)
    monkeypatch.setattr("obskit.collector.store.text_index._LOOK_EVERY", 4)
    monkeypatch.setattr("obskit.collector.store.search._FEW", 100)
    source = random.Random(seed)
    store = SpanStore(str(tmp_path / "x.db"), max_spans=700)
    found = 0
    for step in range(140):
        tags = {"rare": str(source.randint(1, 30))}
        noisy = [random_span(source, source.randint(1, 400)) for _ in range(source.randint(1, 18))]
        store.add([*noisy, Span(trace_id=f"{step + 500:016x}", id="1" * 16, timestamp=NOW + step, tags=tags)])
        if step == 80:
            store.close()
            store = SpanStore(str(tmp_path / "x.db"), max_spans=700)
        if step % 10 == 9:
            window = {"endTs": str(NOW // 1000 + 5_000), "lookback": "10000", "limit": "1000"}
            rare = parse_query({**window, "annotationQuery": f"rare={source.randint(1, 30)}"})
            for query in (rare, random_query(source)):
                answers = []
                for sample in (2, 10**9):
                    monkeypatch.setattr("obskit.collector.store.search._SAMPLE", sample)
                    answers.append(list(store.search(query, Deadline(60))))
                assert answers[0] == answers[1], step
                found += len(answers[0]) if query is rare else 0
    ((groups,),) = store._database.rows("SELECT count(*) FROM text_groups")
    ((rows,),) = store._database.rows("SELECT count(*) FROM text_rows")
    assert 1 < groups < 30
    assert rows == 128 * groups
    assert found > 5
    store.close()


def test_the_index_of_texts_is_built_anew_where_old_blocks_stay_and_most_are_gone(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.text_index._MOST_BLOCKS", 4)
    monkeypatch.setattr("obskit.collector.store.text_index._LOOK_EVERY", 2)
    store = SpanStore(max_spans=3_000)
    quiet = {"local_endpoint": Endpoint("quiet"), "tags": {"rare": "yes"}}
    store.add([Span(trace_id="1", id=f"{n + 1:016x}", timestamp=NOW, **quiet) for n in range(300)])
    noisy = {"local_endpoint": Endpoint("noisy"), "timestamp": NOW}
    for message in range(90):
        first = message * 300 + 2
        store.add([Span(trace_id=f"{n:016x}", id="1" * 16, **noisy) for n in range(first, first + 300)])
    ((groups,),) = store._database.rows("SELECT count(*) FROM text_groups")
    ((rows,),) = store._database.rows("SELECT count(*) FROM text_rows")
    assert groups <= 14
    assert rows == 128 * groups
    monkeypatch.setattr("obskit.collector.store.search._SAMPLE", 1)
    query = parse_query({"endTs": str(NOW // 1000), "lookback": "10", "annotationQuery": "rare=yes"})
    assert [spans[0].trace_id for spans in store.search(query, Deadline(60))] == ["1"]
    store.close()


def test_a_search_for_a_rare_text_reads_a_few_filters(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.text_index._MOST_BLOCKS", 50)
    monkeypatch.setattr(blocks_module, "MOST_SPANS", 40)
    store = SpanStore()
    for number in range(400):
        tags = {"rare": "yes"} if number == 7 else {}
        traces = range(number * 20 + 1, number * 20 + 21)
        store.add([Span(trace_id=f"{n:016x}", id="1" * 16, timestamp=NOW + number, tags=tags) for n in traces])
    for number in range(20):  # small blocks without a filter
        store.add([Span(trace_id=f"{number + 9_000:016x}", id="1" * 16, timestamp=NOW + 1_000 + number)])
    asked = []
    monkeypatch.setattr("obskit.collector.store.search.may_hold", lambda *of: asked.append(of) or may_hold(*of))
    for tag, found in (("rare=yes", 10), ("rare=no", 0)):
        asked.clear()
        query = parse_query({"endTs": str(NOW // 1000 + 5_000), "lookback": "10000", "annotationQuery": tag})
        assert len(list(store.search(query, Deadline(60)))) == found
        assert len(asked) < 64 * 2 + 110
    store.close()


def test_reading_a_trace_costs_the_same_however_many_blocks_there_are(monkeypatch):
    monkeypatch.setattr(blocks_module, "MOST_SPANS", 4)
    store = SpanStore()
    steps, found = [], []
    for number in range(2_000):
        traces = range(number * 2 + 1, number * 2 + 3)
        store.add([Span(trace_id=f"{n:016x}", id="1" * 16, timestamp=NOW + number) for n in traces])
        if number in {100, 1_900}:
            with store._database.access() as connection:
                connection.set_progress_handler(lambda: steps.append(1), 10)
            found.append((len(store.trace(f"{number * 2 + 1:016x}")), len(steps)))
            steps.clear()
            with store._database.access() as connection:
                connection.set_progress_handler(None, 0)
    (one, few), (other, many) = found
    assert one == other == 1
    assert many < few * 2 + 20
    store.close()


def test_a_bloom_filter_of_an_older_release_is_read():
    tokens = [token("tag", "k", str(number)) for number in range(50)]
    bits = bytearray(128)
    for number in tokens:
        for place in (number & 1023, (number * 0x9E3779B1 >> 16) & 1023):
            bits[place >> 3] |= 1 << (place & 7)
    assert all(may_hold(bytes(bits), number) for number in tokens)
    assert sum(may_hold(bytes(bits), token("word", str(number))) for number in range(1_000)) < 50


def test_a_filter_holds_all_its_texts_and_no_others():
    spans = [Span(trace_id="1", id="1", name=f"n{number}", tags={"k": str(number)}) for number in range(500)]
    bits = build(tokens_of(spans, places_of(spans)))
    assert all(may_hold(bits, token("tag", "k", str(number))) for number in range(500))
    assert all(may_hold(bits, token("name", f"n{number}")) for number in range(500))
    wrong = sum(may_hold(bits, token("tag", "k", str(number))) for number in range(1000, 11_000))
    assert wrong < 3


def test_messages_of_one_span_become_blocks_of_many():
    store = SpanStore()
    for number in range(2_000):
        store.add([Span(trace_id=f"{number % 500 + 1:016x}", id=f"{number + 1:016x}", timestamp=NOW + number)])
    ((count,),) = store._database.rows("SELECT count(*) FROM blocks")
    assert count < 100
    assert all(len(store.trace(f"{number + 1:016x}")) == 4 for number in range(500))
    store.close()


def test_what_is_sent_again_is_stored_once_also_by_the_next_process(tmp_path):
    spans = [Span(trace_id="1" * 16, id=f"{number + 1:016x}") for number in range(50)]
    told = []
    for _ in range(2):
        store = SpanStore(str(tmp_path / "x.db"))
        store.on_stored = told.append
        for span in spans:
            store.add([span, span])
        assert store.trace("1" * 16) == spans
        store.close()
    assert sum(map(len, told)) == 50


def test_what_is_too_old_goes(monkeypatch):
    clock = [1_000_000.0]
    monkeypatch.setattr("obskit.collector.store.block_table.time.time", lambda: clock[0])
    store = SpanStore(max_age=60)
    for trace in (1, 2, 3):
        store.add([Span(trace_id=f"{trace:016x}", id="1" * 16)])
        clock[0] += 50
    assert [bool(store.trace(f"{trace:016x}")) for trace in (1, 2, 3)] == [False, True, True]
    store.close()


def test_names_go_with_the_spans_of_their_service(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.names._STEP", 16)
    store = SpanStore(max_spans=600)
    store.add([Span(trace_id="f" * 16, id="1" * 16, name="rare", local_endpoint=Endpoint("quiet"))])
    for number in range(120):
        usual = {"name": f"get {number // 60}", "local_endpoint": Endpoint("noisy")}
        traces = range(number * 300 + 1, number * 300 + 301)
        store.add([Span(trace_id=f"{trace:016x}", id="1" * 16, **usual) for trace in traces])
    assert store.service_names() == ["noisy", "quiet"]
    assert (store.span_names("noisy"), store.span_names("quiet")) == (["get 1"], ["rare"])
    store.close()


def test_the_limits_hold_whatever_is_sent():
    source = random.Random(1)
    store = SpanStore(max_spans=500, max_bytes=200_000)
    for _ in range(300):
        trace = source.randint(1, 200)
        store.add([random_span(source, trace) for _ in range(source.randint(1, 60))])
        ((spans, size),) = store._database.rows("SELECT sum(spans), sum(size) FROM blocks")
        assert (spans, size) == (store._table.spans, store._table.size)
        assert spans <= 500
        assert size <= 200_000
    parts = store._database.rows(
        "SELECT trace FROM parts WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE parts.number BETWEEN number AND last)"
    )
    assert parts == []
    store.close()


# --- the file ------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Span
store = SpanStore(sys.argv[1])
for number in range(1, 1_000_000):
    store.add([Span(trace_id=f"{number:016x}", id=f"{n + 1:016x}") for n in range(3)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("messages", [3, 100, 400])
def test_what_was_stored_survives_kill_9(tmp_path, messages):
    path = str(tmp_path / "x.db")
    stored = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        while stored < messages:
            stored = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
    stored = int(rest[-1]) if rest else stored
    store = SpanStore(path)
    assert all(len(store.trace(f"{number:016x}")) == 3 for number in range(1, stored + 1))
    assert store._table.spans in {3 * stored, 3 * stored + 3}
    store.close()


def test_a_second_collector_on_the_file_is_told_so(tmp_path):
    first = SpanStore(str(tmp_path / "x.db"))
    with pytest.raises(StoreError, match="in use by another collector"):
        SpanStore(str(tmp_path / "x.db"))
    first.close()
    SpanStore(str(tmp_path / "x.db")).close()


OLD_SCHEMA = """
CREATE TABLE spans (number INTEGER PRIMARY KEY, trace_id TEXT NOT NULL, digest BLOB NOT NULL, service TEXT,
remote_service TEXT, name TEXT, timestamp INTEGER, json BLOB NOT NULL, UNIQUE (trace_id, digest));
CREATE INDEX spans_by_service ON spans (service, name);
CREATE INDEX spans_by_time ON spans (timestamp);
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_schema_is_moved_to_this_one(tmp_path):
    path = str(tmp_path / "x.db")
    spans = [
        Span(trace_id=f"{number % 700 + 1:016x}", id=f"{number + 1:016x}", timestamp=NOW, local_endpoint=Endpoint("a"))
        for number in range(2_100)
    ]
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD_SCHEMA)
        rows = [(span.trace_id, os.urandom(16), encode_span(span)) for span in spans]
        connection.executemany("INSERT INTO spans (trace_id, digest, json) VALUES (?, ?, ?)", rows)
    connection.close()
    for _ in range(2):
        store = SpanStore(path)
        assert store.trace(f"{5:016x}") == [span for span in spans if span.trace_id == f"{5:016x}"]
        assert store.service_names() == ["a"]
        assert len(list(store.search(parse_query({"endTs": str(NOW // 1000)}), Deadline(60)))) == 10
        store.close()


def test_a_copy_that_is_taken_while_it_runs_can_be_opened(tmp_path):
    source, target = tmp_path / "x.db", tmp_path / "copy.db"
    with CollectorServer(storage=f"sqlite:///{source}") as server:
        client_of(server).post([{"traceId": "1", "id": "1"}])
        backup(str(source), str(target))
        client_of(server).post([{"traceId": "2", "id": "1"}])
        with pytest.raises(StoreError, match="exists"):
            backup(str(source), str(target))
    store = SpanStore(str(target))
    assert [len(store.trace(f"{number:016x}")) for number in (1, 2)] == [1, 0]
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    store.close()


def test_a_large_file_opens_at_once(tmp_path):
    path = str(tmp_path / "x.db")
    store = SpanStore(path, max_spans=10**9, max_bytes=10**12)
    with store._database.transaction() as connection:
        row = (0, 500, 1000, 0, NOW, 0, b"\0" * 4096, b"", b"\0" * 8192)
        connection.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [(n, n, *row) for n in range(1, 5_000)]
        )
    store.close()
    begun = time.process_time()
    SpanStore(path).close()
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("most", [1, 7, 10_000])
def test_every_trace_is_found_whenever_the_index_was_written(most, tmp_path, monkeypatch):
    """Also where small blocks are merged that came before and after, and by the next process."""
    monkeypatch.setattr("obskit.collector.store.trace_index._MOST_UNWRITTEN", most)
    path = str(tmp_path / "x.db")
    store = SpanStore(path)
    for number in range(150):
        if number % 60 == 59:
            store.close()
            store = SpanStore(path)
        store.add(
            [Span(trace_id=f"{trace % 90 + 1:016x}", id=f"{trace + 1:016x}") for trace in range(number, number + 9)]
        )
        for trace in range(min(number + 9, 90)):
            ids = [span.id for span in store.trace(f"{trace + 1:016x}")]
            assert ids == [f"{one + 1:016x}" for one in range(number + 9) if one % 90 == trace], (number, trace)
    store.close()


def test_a_span_that_made_room_is_not_taken_for_stored_though_the_begin_of_its_trace_was_forgotten(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.recent._MOST_HASHES", 2)
    recent = RecentSpans()
    recent.add([1], [10, 11, 12])
    recent.begin([1], 1)
    recent.age()
    assert list(recent.add([1, 2], [12, 13, 20, 13])) == [1, 2]
    recent.begin([1, 2], 2)
    assert recent.begins([1, 2, 3]) == {1, 2}
    recent.age()
    assert recent.unknown([1, 2]) == {1}
    recent.drop([3])
    assert list(recent.add([1], [13])) == []
    recent.drop([1])
    assert list(recent.add([1], [13])) == [0]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_sent_again_is_stored_once_whatever_made_room_and_whatever_is_remembered(seed, monkeypatch):
    monkeypatch.setattr("obskit.collector.store.recent._MOST_HASHES", 25)
    source, store = random.Random(seed), SpanStore(max_spans=40)
    for _ in range(400):
        trace = source.randint(1, 25)
        spans = [
            Span(trace_id=f"{trace:016x}", id=f"{source.randint(1, 12):016x}", local_endpoint=Endpoint("a"))
            for _ in range(source.randint(1, 4))
        ]
        store.add(spans)
        stored = [span.id for span in store.trace(spans[0].trace_id)]
        assert len(stored) == len(set(stored))
        assert {span.id for span in spans} <= set(stored)
    store.close()


@pytest.mark.parametrize("size", [1, 65_534, 65_535, 65_536, 131_070, 131_071])
def test_what_is_stored_without_compressing_is_a_stream_that_zlib_reads(size):
    data = random.Random(size).randbytes(size)
    assert zlib.decompress(chunks.stored(data)) == data


def test_one_trace_is_read_from_a_block_as_all_of_it_would_be():
    """Also where its id is in another trace's texts, at the ends of the block and with a high half before it."""
    source = random.Random(3)
    spans = []
    for number in range(300):
        low = f"{source.randint(1, 40):016x}"
        high = source.choice(["", "", f"{source.randint(1, 40):016x}"])
        tags = {f"{source.randint(1, 40):016x}": f'",\n"traceId":"{source.randint(1, 40):016x}"'}
        spans.append(Span(trace_id=high + low, id=f"{number + 1:016x}", tags=source.choice([{}, tags])))
    part = blocks_module.Part(spans, [encode_span(span) for span in spans])
    for block in (blocks_module.pack(part, final=True), blocks_module.pack(part[:100])):
        kept = spans[: block.spans]
        assert blocks_module.unpack(block.data) == kept
        for trace in range(1, 42):
            expected = [span for span in kept if int(span.trace_id[-16:], 16) == trace]
            assert blocks_module.unpack_trace(block.data, block.traces, trace) == expected
    with pytest.raises(blocks_module.Damaged):
        blocks_module.unpack_trace(b"x", b"", 1)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 500, 513, 700])
def test_a_trace_is_inflated_from_its_chunks_alone_and_all_of_them_by_any_release(count):
    source = random.Random(count)
    lows = [source.choice([-5, 3, 2**62, -(2**63), number]) for number in range(count)]
    texts = [f"{low}:{number:050d};".encode() for number, low in enumerate(lows)]
    data, traces = chunks.compress(texts, lows, 1), sorted({*lows})
    assert zlib.decompress(data) == b"[" + b",\n".join(texts) + b"]"
    for trace in traces:
        found = chunks.inflate(data, traces, trace)
        expected = [text for text, low in zip(texts, lows, strict=True) if low == trace]
        assert [text for text in expected if text in found] == expected
    rare = max(traces, key=lambda trace: (trace not in {-5, 3, 2**62, -(2**63)}, trace))
    assert chunks.inflate(data, traces, rare).count(b";") <= max(64, -(-count // 8))
    assert chunks.inflate(data, traces, 2**60) == b""


def read_each(data, traces, wanted):
    return [blocks_module.unpack_trace(data, traces, trace) for trace in wanted]


def test_a_chunk_that_is_damaged_is_noticed():
    spans = [Span(trace_id=f"{number % 7 + 1:016x}", id=f"{number + 1:016x}") for number in range(300)]
    part = blocks_module.Part(spans, [encode_span(span) for span in spans])
    block = blocks_module.pack(part, final=True)
    for place in range(2, len(block.data) - 120, 41):
        damaged = bytearray(block.data)
        damaged[place] ^= 4
        with pytest.raises(blocks_module.Damaged):
            read_each(bytes(damaged), block.traces, range(1, 8))
    for size in range(0, len(block.data), 29):
        with contextlib.suppress(blocks_module.Damaged):  # and no other error
            blocks_module.unpack_trace(block.data[-size:], block.traces, 1)


@pytest.mark.parametrize("strict", [True, False])
def test_traces_that_are_read_together_are_those_read_alone_and_a_block_is_read_once(strict, monkeypatch):
    store = SpanStore(strict_trace_id=strict)
    for start in range(0, 3_000, 30):
        store.add([Span(trace_id=f"{n % 400 + 1:032x}", id=f"{n + 1:016x}") for n in range(start, start + 30)])
    ids = [f"{n + 1:032x}" for n in range(0, 400, 9)] + ["00000000000000ff00000000000000fa", "ffff", f"{10:032x}"]
    alone = [store.trace(trace_id) for trace_id in ids]
    store._reader.forget()
    read, only = [], store._reader._only
    monkeypatch.setattr(store._reader, "_only", lambda key, traces: read.append(key) or only(key, traces))
    assert store.together(ids) == alone
    assert [len(spans) for spans in alone[-3:]] == [0 if strict else 7, 0, 8]
    assert 0 < len(read) == len(set(read))
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_several_parts_as_one_have_what_all_their_spans_have(seed):
    source = random.Random(seed)
    spans = [
        Span(
            trace_id=f"{source.getrandbits(64) | 1:016x}" * source.randint(1, 2),
            id=f"{number + 1:016x}",
            kind=source.choice([None, "SERVER", "CLIENT"]),
            name=source.choice([None, "a", "b"]),
            local_endpoint=source.choice([None, Endpoint("x"), Endpoint("y", "1.2.3.4")]),
            timestamp=source.choice([None, number + 1]),
            duration=source.choice([None, 0, 1, 10**15]),
            tags=source.choice([{}, {"error": ""}, {"k8s.pod.name": "p"}]),
        )
        for number in range(60)
    ]
    lines = [encode_span(span) for span in spans]
    parts = [blocks_module.Part(spans[cut : cut + 20], lines[cut : cut + 20]) for cut in range(0, 60, 20)]
    whole, together = blocks_module.Part(spans, lines), blocks_module.Part.joined(parts)
    for what in ("lows", "places", "services", "entries"):
        assert getattr(together, what) == getattr(whole, what), what
    assert blocks_module.pack(together, final=True) == blocks_module.pack(whole, final=True)
    assert whole.lows == [blocks_module.low_id(span.trace_id) for span in spans]


def test_ids_shorter_than_64_bits_are_numbers_too():
    assert blocks_module.low_ids(["1", "f" * 16, "a" * 32]) == [1, -1, blocks_module.low_id("a" * 16)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [1, 5, 60])
@pytest.mark.parametrize("headers", [2, 512])
def test_the_newest_traces_come_first_also_where_few_have_a_late_span_elsewhere(
    seed, limit, headers, monkeypatch, tmp_path
):
    """A trace is found by its first span, and another one seconds later decides where it stands."""
    monkeypatch.setattr("obskit.collector.store.reading._MOST_HEADERS", headers)
    monkeypatch.setattr("obskit.collector.store.blocks.MOST_SPANS", 20)
    monkeypatch.setattr("obskit.collector.store.tail.MOST_SPANS", 20)
    source, store, spans, newest = random.Random(seed), SpanStore(str(tmp_path / "x.db")), [], {}
    for trace in range(1, 401):
        moment = NOW + trace * 50_000
        newest[f"{trace:016x}"] = late = moment + (source.randint(1, 4_000_000) if source.random() < 0.1 else 1)
        for service, at in (("a", moment), ("b", late)):
            its = {"trace_id": f"{trace:016x}", "id": service * 16, "local_endpoint": Endpoint(service)}
            spans.append(Span(timestamp=at, **its))
    spans.sort(key=lambda span: span.timestamp)
    for begin in range(0, len(spans), 10):
        store.add(spans[begin : begin + 10])
    for end in (NOW // 1000 + 60_000, NOW // 1000 + 10_000):
        query = parse_query({"serviceName": "a", "limit": str(limit), "endTs": str(end), "lookback": "60000"})
        begun = {trace: NOW + int(trace, 16) * 50_000 for trace in newest}
        moments = {trace: at if at <= end * 1000 else begun[trace] for trace, at in newest.items()}
        inside = [trace for trace in moments if begun[trace] <= end * 1000]
        expected = sorted(inside, key=moments.__getitem__, reverse=True)[:limit]
        assert [trace[0].trace_id for trace in store.search(query, Deadline(60))] == expected
    store.close()
