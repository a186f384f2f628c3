"""The store of lines: once each, bounded with a floor for each service, found again."""

import threading

import pytest

from obskit.collector.deadline import Deadline
from obskit.collector.lines import search as searches
from obskit.collector.lines import store as stores
from obskit.collector.lines.blocks import MOST_LINES
from obskit.collector.lines.line import Line, Words
from obskit.collector.lines.search import LineQuery, around, arrived, histogram, line_of, newer, search
from obskit.collector.lines.store import LineStore
from obskit.collector.store.spans import SpanStore

MINUTE = 60_000_000
TRACE = "5b8efff798038103d269b633813fc60c"


@pytest.fixture
def spans():
    spans = SpanStore()
    yield spans
    spans.close()


@pytest.fixture
def lines(spans):
    return LineStore(spans.database)


def line(number, **fields):
    return Line(**{"time": number * 1_000_000, "message": f"line {number}", "service": "shop", **fields})


def find(store, text="", patience=60.0, **fields):
    return search(store.database, LineQuery(words=Words.parse(text), **fields), Deadline(60), patience)


def messages(found):
    return [line.message for line in found.lines]


def test_lines_are_found_in_order_of_time_whatever_order_they_came_in(lines):
    assert lines.add(line(number) for number in (3, 1, 2)) == 3
    assert messages(find(lines)) == ["line 1", "line 2", "line 3"]
    assert messages(find(lines, limit=2)) == ["line 2", "line 3"]


def test_what_is_sent_again_is_stored_once(lines):
    sent = [line(1), line(1), line(2, key="a"), line(2, key="a"), line(2, key="b"), line(3, key="a")]
    assert lines.add(sent) == 6  # one message may hold a line twice
    assert lines.add(sent) == 0
    assert lines.add([*sent[:3], line(4)]) == 1
    assert len(find(lines).lines) == 7


def test_what_is_sent_again_after_a_restart_is_stored_once(tmp_path):
    path = str(tmp_path / "traces.db")
    for new in (2, 0):
        spans = SpanStore(path)
        assert LineStore(spans.database).add([line(1), line(2, key="k")]) == new
        spans.close()


def test_small_messages_become_whole_blocks(lines):
    for number in range(2 * MOST_LINES):
        lines.add([line(number), line(number, service="other")])
    ((blocks,),) = lines.database.rows("SELECT count(*) FROM line_blocks")
    assert blocks < 2 * 40
    assert messages(find(lines, service="shop", limit=5000)) == [f"line {number}" for number in range(2 * MOST_LINES)]
    assert lines.totals() == (4 * MOST_LINES, 0, 0)


def test_a_noisy_service_leaves_a_quiet_one_its_share(spans):
    store = LineStore(spans.database, max_bytes=200_000)
    store.add(line(number, service="quiet") for number in range(100))
    for number in range(100):
        store.add(line(k, message=f"{number} {k * 7919 % 10007} {hash((number, k))}") for k in range(200))
    stored, dropped, _ = store.totals()
    assert len(find(store, service="quiet", limit=5000).lines) == 100
    assert stored + dropped == 100 + 100 * 200
    assert dropped > 0
    ((size,),) = store.database.rows("SELECT sum(size) FROM line_blocks")
    assert size <= 200_000
    assert not store.database.rows("SELECT 1 FROM line_traces WHERE number NOT IN (SELECT number FROM line_blocks)")


def test_old_lines_expire(monkeypatch, spans):
    store = LineStore(spans.database, max_age=100)
    store.add([line(1, trace=TRACE)])
    now = stores.time.time()
    monkeypatch.setattr(stores.time, "time", lambda: now + 200)
    store.add([line(2)])
    assert messages(find(store)) == ["line 2"]
    assert not store.database.rows("SELECT * FROM line_traces")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stock", ["no Stock of 'tea'", "stock counted"]),
        ('"no stock"', ["no Stock of 'tea'"]),
        ("stock -counted", ["no Stock of 'tea'"]),
        ("item=tea", ["no Stock of 'tea'"]),
        ("order.id=7", ["no Stock of 'tea'"]),
        ("shop.orders", ["stock counted"]),
        ("재고", ["재고 없음"]),
        ('\\"', ['a "quoted" \\" word\n']),
        ("elsewhere", []),
        ("time", []),
    ],
)
def test_words_find_lines(lines, text, expected):
    lines.add(
        [
            line(1, message="no Stock of 'tea'", fields={"item": "tea", "order": {"id": 7}}),
            line(2, message="stock counted", logger="shop.orders"),
            line(3, message="재고 없음"),
            line(4, message='a "quoted" \\" word\n'),
        ]
    )
    assert messages(find(lines, text)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"severity": 400}, [3]),
        ({"service": "other"}, [2]),
        ({"logger": "a"}, [0, 1]),
        ({"logger": "a.b"}, [1]),
        ({"trace": TRACE}, [1, 3]),
        ({"instance": "pod-1"}, [3]),
        ({"first": 1_000_000, "last": 2_000_000}, [1, 2]),
        ({"before": (2_000_000, 3)}, [0, 1]),
        ({"after": (1_000_000, 2)}, [2, 3]),
    ],
)
def test_a_query_finds_what_it_asks_for(lines, fields, expected):
    lines.add(
        [
            line(0, logger="a"),
            line(1, logger="a.b", trace=TRACE),
            line(2, logger="ab", service="other"),
            line(3, trace=TRACE, severity=400, instance="pod-1"),
        ]
    )
    assert messages(find(lines, **fields)) == [f"line {number}" for number in expected]


def test_pages_of_a_search_follow_one_another_without_gap_or_repetition(lines):
    lines.add(line(number // 3, message=str(number)) for number in range(1200))
    seen, before = [], None
    while True:
        found = find(lines, limit=70, before=before)
        seen = messages(found) + seen
        before = found.more
        if before is None:
            break
    assert seen == [str(number) for number in range(1200)]


def test_a_search_without_time_says_how_far_it_came_and_goes_on_from_there(lines):
    for number in range(10):
        lines.add(line(number * MOST_LINES + k) for k in range(MOST_LINES))
    found = find(lines, "-line", patience=0.0)
    seen, turns = [], 0
    while True:
        found = find(lines, "line", patience=0.0, limit=5000, before=found.more if turns else None)
        seen, turns = messages(found) + seen, turns + 1
        if found.more is None:
            break
        assert found.searched_from is not None
    assert seen == [f"line {number}" for number in range(10 * MOST_LINES)]
    assert turns == 10


def test_lines_of_blocks_whose_times_overlap_are_in_order_on_every_page(lines):
    for number in range(6):  # each block has lines of the whole time
        lines.add(line(k * 6 + number) for k in range(MOST_LINES))
    for patience in (60.0, 0.0):
        seen, before = [], None
        for _ in range(200):
            found = find(lines, patience=patience, limit=400, before=before)
            seen = messages(found) + seen
            before = found.more
            if before is None:
                break
        assert seen == [f"line {number}" for number in range(6 * MOST_LINES)][-len(seen) :]
        assert len(seen) == 6 * MOST_LINES or not patience  # without time, each page is a few lines


def test_a_search_begins_anew_where_lines_were_moved_under_its_hands(lines, monkeypatch):
    for number in range(5):
        lines.add([line(number)])
    unpack, moved = searches.unpack, []

    def move_and_unpack(data, words):
        if not moved:
            moved.append(1)
            for number in range(40):  # merges all blocks that were listed
                lines.add([line(100 + number)])
        return unpack(data, words)

    monkeypatch.setattr(searches, "unpack", move_and_unpack)
    assert messages(find(lines, last=50_000_000)) == [f"line {number}" for number in range(5)]


def test_a_tail_reads_what_came_since(lines):
    lines.add([line(5), line(9)])
    first = arrived(lines.database, LineQuery(), 0, Deadline(5))
    assert messages(first) == ["line 5", "line 9"]
    assert first.last_id == 2
    lines.add([line(7)])  # late
    assert messages(arrived(lines.database, LineQuery(), 2, Deadline(5))) == ["line 7"]
    nothing = arrived(lines.database, LineQuery(words=Words.parse("nowhere")), 2, Deadline(5))
    assert (nothing.lines, nothing.last_id) == ([], 3)


def test_a_tail_of_very_much_reads_the_last_of_it_alone(lines, monkeypatch):
    for number in range(20):
        lines.add(line(number * MOST_LINES + k) for k in range(MOST_LINES))
    read = []
    unpack = searches.unpack
    monkeypatch.setattr(searches, "unpack", lambda data, words: read.append(1) or unpack(data, words))
    found = arrived(lines.database, LineQuery(limit=200), 0, Deadline(5))
    assert messages(found) == [f"line {number}" for number in range(20 * MOST_LINES - 200, 20 * MOST_LINES)]
    assert (len(read), found.last_id) == (1, 20 * MOST_LINES)


def test_lines_around_one_are_of_the_same_process(lines):
    lines.add(line(number, instance="ab"[number % 2]) for number in range(40))
    middle = line_of(lines.database, 21)
    assert middle.message == "line 20"
    found = [item.message for item in around(lines.database, middle, Deadline(5), limit=2)]
    assert found == ["line 16", "line 18", "line 20", "line 22", "line 24"]
    assert line_of(lines.database, 999) is None
    assert len(newer(lines.database, LineQuery(limit=5)).lines) == 5


def test_a_histogram_counts_all_lines_of_a_time(lines):
    lines.add(line(0, time=number * MINUTE, severity=100 * (number % 3)) for number in range(30))
    width, parts = histogram(lines.database, LineQuery(first=0, last=30 * MINUTE), buckets=15)
    assert width == 2 * MINUTE
    assert sum(sum(part.values()) for part in parts) == 30
    assert parts[0] == {0: 1, 100: 1}
    _, parts = histogram(lines.database, LineQuery(first=0, last=30 * MINUTE, severity=200), buckets=15)
    assert sum(sum(part.values()) for part in parts) == 10


def test_a_histogram_of_a_short_time_counts_seconds(lines, monkeypatch):
    lines.add(line(0, time=number * 1_000_000, severity=200 + 300 * (number % 2)) for number in range(120))
    query = LineQuery(first=30_500_000, last=90_000_000, severity=500)
    width, parts = histogram(lines.database, query)
    assert width == 1_000_000
    assert [sum(part.values()) for part in parts] == [1, 0] * 30
    monkeypatch.setattr("obskit.collector.lines.search._FEW_LINES", 100)
    assert histogram(lines.database, query) == (MINUTE, [{500: 60}])


def test_a_damaged_block_is_passed_over_and_makes_room(spans):
    store = LineStore(spans.database, max_bytes=3_000)
    store.add([line(1, trace=TRACE)])
    with spans.database.transaction() as connection:
        connection.execute("UPDATE line_blocks SET data = x'00'")
    assert find(store).lines == []
    for number in range(50):
        store.add([line(number, message=f"{hash(number)}" * 20)])
    assert find(store).lines
    assert not store.database.rows("SELECT * FROM line_traces")


def test_a_search_during_merges_misses_nothing(lines):
    lines.add([line(number) for number in range(50)])
    done = threading.Event()

    def write():
        for number in range(400):
            lines.add([line(100 + number)])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        found = find(lines, limit=5000, last=49_000_000)
        assert len(found.lines) == 50
    writer.join()
    assert len(find(lines, limit=5000).lines) == 450
