"""Which version of a service ran when: from spans to the marks in the charts."""

import re
import time

import pytest

from obskit.collector.store.database import Database
from obskit.collector.store.spans import SpanStore
from obskit.collector.store.versions import Run, Versions
from obskit.zipkin.model import Endpoint, Span

from .profiles.test_profiles import ingest, pprof

MINUTE = 60_000_000
START = 1_000 * MINUTE


def span(minute, version, service="shop"):
    tags = {"service.version": version} if version else {}
    number = f"{minute + 1:016x}"
    endpoint = Endpoint(service_name=service)
    return Span(
        trace_id=number, id=number, name="get", kind="SERVER", timestamp=START + minute * MINUTE, duration=5,
        local_endpoint=endpoint, tags=tags,
    )  # fmt: skip


def runs(store, service="shop"):
    return [(run.version, (run.first - START) // MINUTE, (run.last - START) // MINUTE) for run in store.of(service)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([(0, "1"), (5, "1"), (6, "2"), (9, "2")], [("1", 0, 5), ("2", 6, 9)]),
        ([(9, "2"), (6, "2"), (5, "1"), (0, "1")], [("1", 0, 5), ("2", 6, 9)]),  # late ones last
        ([(0, "1"), (20, "2"), (40, "1")], [("1", 0, 0), ("2", 20, 20), ("1", 40, 40)]),  # rolled back
        ([(0, "1"), (300, "1")], [("1", 0, 300)]),  # a pause is no change
        ([(0, "1"), (20, "2"), (18, "1"), (9, "1"), (21, None)], [("1", 0, 18), ("2", 20, 20)]),  # the gap was filled
    ],
)
def test_runs_of_versions_whatever_order_spans_come_in(order, expected):
    store = SpanStore()
    for minute, version in order:
        store.add([span(minute, version)])
    assert runs(store.versions) == expected
    assert runs(store.versions, "other") == []
    store.close()


def test_versions_are_known_after_a_restart_and_after_the_spans_are_gone(tmp_path):
    path = str(tmp_path / "spans.db")
    store = SpanStore(path, max_spans=20)
    store.add([span(0, "1")])
    store.close()
    store = SpanStore(path, max_spans=20)
    for minute in range(2, 100):
        store.add([span(minute, "2", "other"), span(3, "1")])
    assert runs(store.versions) == [("1", 0, 3)]
    store.close()


def test_what_was_not_stored_is_noted_again():
    store = SpanStore()
    versions = Versions(store.database)

    def fail():
        with store.database.transaction() as connection:
            versions.note(connection, [span(0, "1")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert versions.of("shop") == []
    versions.forget()
    with store.database.transaction() as connection:
        versions.note(connection, [span(0, "1")])
    assert runs(versions) == [("1", 0, 0)]
    store.close()


def test_the_oldest_runs_make_room(monkeypatch):
    monkeypatch.setattr("obskit.collector.store.versions._MOST", 3)
    database = Database(None)
    versions = Versions(database)
    with database.transaction() as connection:
        versions.note(connection, [span(number, str(number)) for number in range(9)])
    assert [version for version, *_ in runs(versions)] == ["6", "7", "8"]
    assert isinstance(versions.of("shop")[0], Run)
    database.close()


def now():
    """The time in microseconds; not that of the import, which may be minutes ago."""
    return int(time.time() * 1_000_000)


@pytest.fixture
def busy(client):
    end = now()
    for number in range(60):
        version = "1.4<b>" if number < 30 else "1.5"
        one = {"traceId": f"{number + 1:x}", "id": "1", "name": "get", "kind": "SERVER", "duration": 9_000}
        place = {"timestamp": end - (60 - number) * MINUTE, "localEndpoint": {"serviceName": "shop"}}
        client.post([{**one, **place, "tags": {"service.version": version}}])
    ingest(client, pprof(begun=end - 600_000_000))
    return client


def test_a_services_page_marks_when_a_version_began_and_shows_the_hottest_lines(busy):
    text = busy.get("/services/shop?last=1h").text
    found = re.findall(r'<svg x="([\d.]+)%"><title>version 1.5 begins</title>', text)
    assert len(found) == 3
    assert 45 < float(found[0]) < 55
    assert "<b>1.5</b> since" in text
    assert "<b>1.4&lt;b&gt;</b> since" in text
    assert "version=1.5&amp;base=version%3A1.4%3Cb%3E" in text
    assert "app/parse.py:7" in text.partition("Hottest lines")[2]
    assert "in 1 profile." in text
    later = busy.get(f"/services/shop?from={(now() - 10 * MINUTE) // 1000}").text
    assert "begins</title>" not in later
    assert "<b>1.5</b> since" in later
    assert "Hottest lines" not in busy.get(f"/services/shop?to={(now() - 30 * MINUTE) // 1000}").text


@pytest.mark.parametrize("width", [390, 1280])
def test_the_marks_in_a_browser(browser, busy, width):
    tab = browser.tab(width, 900).open("http://{}:{}/services/shop".format(*busy.address))
    boxes = tab.run("""[...document.querySelectorAll(".versions line")].map((line) => {
        const mark = line.getBoundingClientRect(), plot = line.closest(".plot").getBoundingClientRect();
        return [(mark.x - plot.x) / plot.width, mark.height / plot.height];
    })""")
    assert len(boxes) == 3
    assert all(0.4 < x < 0.6 and height > 0.9 for x, height in boxes), boxes
    assert tab.problems == []
    assert tab.overflow <= 0
