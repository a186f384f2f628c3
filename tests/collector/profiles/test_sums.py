"""Profiles of a long time: parts of whole hours add up to what the profiles do."""

import pytest

from obskit.collector.profiles.flame import Choice, added, fold, tables_of
from obskit.collector.profiles.stacks import of_samples
from obskit.collector.profiles.store import Kept, ProfileStore
from obskit.collector.store.spans import SpanStore

HOUR = 3_600_000_000
BEGIN = 470_000 * HOUR
EVER = 2**62


@pytest.fixture
def spans():
    store = SpanStore()
    yield store
    store.close()


def profile(number):
    """One profile of many: what it calls, and where, differs between them."""
    stack = [("main", "/app/a.py", 1), (f"work_{number % 7}", "/app/a.py", number % 3)]
    labels = (("http.route", f"/{number % 2}"), ("version", f"{number // 50}"), ("trace_id", f"{number + 1:032x}"))
    return of_samples([(stack, 10 + number, labels), (stack[:1], number + 1, labels[:2])])


def add(store, numbers):
    for number in numbers:
        begin = BEGIN + number * HOUR // 20
        store.add(Kept("shop", "cpu", "nanoseconds", begin, begin + 1_000_000), profile(number))


def seen(flame):
    names = [(place, node.value) for place, node in flame.root.children.items()]
    return names, flame.own, flame.total, flame.routes, flame.versions


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize(
    "choice",
    [Choice(), Choice(route="/1"), Choice(version="0"), Choice(group="version"), Choice(function="work_3")],
)
@pytest.mark.parametrize(
    ("first", "last"), [(0, EVER), (BEGIN + HOUR // 2, BEGIN + 4 * HOUR), (BEGIN + 3 * HOUR, EVER)]
)
def test_a_time_has_what_its_profiles_have_together(spans, ahead, choice, first, last):
    store = ProfileStore(spans.database)
    add(store, range(100))
    while ahead and store.sums.add_ahead():
        pass
    found = store.sums.within("shop", "cpu", first, last, plain=choice.is_plain)
    numbers = store.numbers("shop", "cpu", first, last)
    assert (found.used, found.found) == (len(numbers), len(numbers))
    flame = fold(added(store.read(numbers)), choice)
    assert seen(fold(found.sums, choice)) == seen(flame)
    tables = tables_of(found.sums)
    if choice == Choice():
        assert (tables.root.value, tables.own, tables.total) == (flame.root.value, flame.own, flame.total)


def test_a_part_is_made_once_and_again_when_profiles_come_late(spans, monkeypatch):
    store = ProfileStore(spans.database)
    add(store, range(1, 60))
    first = store.sums.within("shop", "cpu", 0, EVER)
    assert not store.sums.add_ahead()
    with monkeypatch.context() as patched:
        patched.setattr(store.sums, "_make", lambda hour: pytest.fail(f"{hour} again"))
        assert store.sums.within("shop", "cpu", 0, EVER).sums.samples == first.sums.samples
    add(store, [0])
    assert store.sums.add_ahead()
    found = store.sums.within("shop", "cpu", 0, EVER)
    assert fold(found.sums, Choice()).root.value == fold(first.sums, Choice()).root.value + 11


def test_when_its_time_is_over_a_sum_says_of_how_many_it_is(spans, monkeypatch):
    monkeypatch.setattr("obskit.collector.profiles.sums._PATIENCE", -1)
    store = ProfileStore(spans.database)
    add(store, range(60))
    found = store.sums.within("shop", "cpu", 0, EVER)
    assert (found.used, found.found) == (20, 60)
    assert fold(found.sums, Choice()).root.value == sum(11 + 2 * number for number in range(40, 60))


def test_a_version_is_found_without_reading_the_hours_of_others(spans, monkeypatch):
    monkeypatch.setattr("obskit.collector.profiles.sums._PATIENCE", 10**9)
    store = ProfileStore(spans.database)
    add(store, range(100))
    while store.sums.add_ahead():
        pass
    read, part = [], store.sums._part
    monkeypatch.setattr(store.sums, "_part", lambda hour, plain: read.append(hour.hour) or part(hour, plain=plain))
    found = store.sums.within("shop", "cpu", 0, EVER, "1")
    assert sorted(read) == [470_002, 470_003, 470_004]
    assert fold(found.sums, Choice(version="1")).root.value == sum(11 + 2 * number for number in range(50, 100))


def test_parts_go_with_their_profiles(spans):
    store = ProfileStore(spans.database, max_bytes=20_000)
    for number in range(0, 400, 20):
        add(store, range(number, number + 20))
        store.sums.within("shop", "cpu", 0, EVER)
    parts = {hour for (hour,) in spans.database.rows("SELECT hour FROM profile_sums")}
    profiles = {hour for (hour,) in spans.database.rows(f"SELECT first / {HOUR} FROM profiles")}
    assert parts
    assert parts <= profiles
    assert len(profiles) < 20
