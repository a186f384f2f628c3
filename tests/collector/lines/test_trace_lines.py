"""Log lines in the waterfall of a trace: marks on the bars, the panel, lines of a subtree, in a real browser too."""

import re

import pytest

from obskit.collector.server import CollectorServer
from tests.collector.conftest import client_of

from .test_logs_page import TRACE, post, texts

START = 1_769_868_000_000_000  # 2026-01-31 14:00:00 UTC
PAGE = f"/traces/{TRACE}"
ROWS = f"/api/obskit/v1/trace/{TRACE}/rows"


def span(number, parent, service, at, took, **fields):
    times = {"timestamp": START + at * 1000, "duration": took * 1000}
    named = {"id": f"{number:016x}", "name": f"span {number}", "localEndpoint": {"serviceName": service}}
    return {"traceId": TRACE, "parentId": f"{parent:016x}" if parent else None, **named, **times, **fields}


def line(at, number, message, severity="INFO"):
    time = f"2026-01-31T14:00:00.{at:03}Z"
    return {"time": time, "message": message, "severity": severity, "trace": TRACE, "spanId": f"{number:016x}"}


def fill(client):
    """A call whose halves share an id and whose server's clock is an hour ahead, with five equal spans below it."""
    ahead = 3_600_000
    client.post(
        [
            span(1, 0, "shop", 0, 100),
            span(2, 1, "shop", 10, 50, kind="CLIENT"),
            span(2, 1, "stock", 10 + ahead, 50, kind="SERVER", shared=True),
            *(span(n, 2, "stock", n + ahead, 2, name="select") for n in range(20, 25)),
            span(3, 1, "shop", 70, 20),
        ]
    )
    post(
        client,
        line(5, 1, "root"),
        line(20, 2, "asks <b>"),
        line(80, 3, "failed", "ERROR"),
        line(81, 3, "slow", "WARNING"),
        line(99, 99, "of a span that is not stored"),
    )
    late = [{**line(at, number, text), "time": f"2026-01-31T15:00:00.{at:03}Z"} for at, number, text in LATE]
    post(client, *late, service="stock")


LATE = [(30, 2, "answers"), (22, 22, "one of the repeats")]


@pytest.fixture(scope="module")
def collector():
    with CollectorServer() as server:
        fill(client_of(server))
        yield server


@pytest.fixture(scope="module")
def client(collector):
    return client_of(collector)


def test_each_line_is_at_its_span_by_the_clock_of_the_waterfall(client):
    columns = client.get(ROWS).json
    ids = [int(text, 16) for text in columns["id"]]
    found = {
        (ids[int(row)], int(row) in map(int, columns["repeats"])): marks for row, marks in columns["lines"].items()
    }
    assert found == {
        (1, False): [[5_000, 0, "root"]],
        (2, False): [[20_000, 0, "asks <b>"], [30_000, 0, "answers"]],
        (20, True): [[22_000, 0, "one of the repeats"]],
        (22, False): [[22_000, 0, "one of the repeats"]],
        (3, False): [[80_000, 2, "failed"], [81_000, 1, "slow"]],
    }


def test_a_mark_has_a_shape_of_its_severity_and_says_its_message(client):
    text = client.get(PAGE).text
    marks = re.findall(r'<svg class="log (\w+)" x="([\d.]+)%" y="12"><title>(.*?)</title><path d="(.*?)"/>', text)
    assert {(kind, float(x), said) for kind, x, said, _ in marks} >= {
        ("quiet", 5.0, "root"),
        ("quiet", 20.0, "asks &lt;b&gt;"),
        ("bad", 80.0, "failed"),
        ("warned", 81.0, "slow"),
    }
    assert len({kind for kind, *_ in marks}) == len({shape for *_, shape in marks}) == 3
    assert "2 lines, 1 error" in text


def test_lines_of_the_selected_span_and_what_it_led_to(client):
    every = [
        "root",
        "one of the repeats",
        "asks &lt;b&gt;",
        "answers",
        "failed",
        "slow",
        "of a span that is not stored",
    ]
    page = client.get(f"{PAGE}?span={2:016x}")
    assert sorted(texts(page)) == sorted(every)
    assert "of the selected span and below: 3</a>" in page.text
    page = client.get(f"{PAGE}?span={2:016x}&log=below")
    assert sorted(texts(page)) == sorted(every[1:4])
    answer = client.get(f"/api/obskit/v1/trace/{TRACE}/lines?span={3:016x}").json
    assert [found["message"] for found in answer["lines"]] == ["failed", "slow"]


def test_the_panel_of_a_span_has_its_lines_and_find_looks_into_them(client):
    parts = client.get(f"/api/obskit/v1/trace/{TRACE}/span?id={3:016x}").json
    assert dict(parts[0]["tables"])["Log lines"] == [["+80 ms", "ERROR: failed"], ["+81 ms", "WARNING: slow"]]
    rows = client.get(f"/api/obskit/v1/trace/{TRACE}/find?q=ANSWERS").json["rows"]
    assert [client.get(ROWS).json["id"][row] for row in rows] == [f"{2:016x}"]


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_a_selected_span_narrows_the_lines(browser, collector, width):
    tab = browser.tab(width, 900).open(f"{collector.url}{PAGE}")
    tab.wait("document.documentElement.dataset.ready")
    assert tab.run("document.querySelectorAll('.rows svg.log').length") == 6
    tab.press("j")
    tab.wait("document.querySelector('[data-scope=below]')?.textContent == 'of the selected span and below: 3'")
    tab.run("document.querySelector('[data-scope=below]').click()")
    tab.wait("document.querySelectorAll('#trace-lines details').length == 3")
    tab.press("j", "j")
    tab.wait("document.querySelectorAll('#trace-lines details').length == 2")
    assert "log=below" in tab.run("location.search")
    assert tab.problems == []
    assert tab.overflow <= 0
