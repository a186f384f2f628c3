"""``/logs`` and the lines below a trace: as HTML, and in a real browser."""

import json
import re
import time

import pytest

from obskit.collector.server import CollectorServer
from tests.collector.conftest import client_of

TRACE = "5b8efff798038103d269b633813fc60c"
LINES = "/api/obskit/v1/lines"


def line(number, **fields):
    return {"message": f"line {number}", "time": f"2026-01-31T14:{number // 60:02}:{number % 60:02}Z", **fields}


def post(client, *lines, service="shop"):
    body = b"\n".join(json.dumps(item).encode() for item in lines)
    assert client.post(body, f"{LINES}?service={service}&instance=pod-1").status == 200


def texts(page):
    return re.findall(r'<span class="text">([^<]*)</span>', page.text)


def test_without_lines_it_says_where_they_come_from(client):
    page = client.get("/logs")
    assert page.status == 200
    assert "obskit ship" in page.text


def test_lines_are_there_newest_first_with_all_that_is_known_of_them(client):
    post(client, line(1), line(2, severity="ERROR", trace=TRACE, spanId="00000000000000a1", logger="a.b", cart=7))
    page = client.get("/logs")
    assert texts(page) == ["line 2", "line 1"]
    for link in (
        f"/traces/{TRACE}?span=00000000000000a1",
        f"/logs?trace={TRACE}",
        "/logs?q=cart%3D7",
        "/logs?line=2#line-2",
    ):
        assert f'href="{link}"' in page.text
    assert "2 lines stored since" in page.text


def test_the_form_finds_lines_and_keeps_what_was_asked(client):
    post(client, line(1), line(2, severity="ERROR"), line(3, severity="WARNING"))
    page = client.get("/logs?q=line&severity=warning&service=shop&last=")
    assert texts(page) == ["line 3", "line 2"]
    assert 'name="q" value="line"' in page.text
    assert '<option value="warning" selected>' in page.text
    assert '<option value="shop" selected>' in page.text


def test_everything_is_escaped(client):
    bad = "<script>alert('1')</script>\"&amp;"
    post(client, line(1, message=bad, **{bad: bad}), service="%3Cb%3E")
    for path in ("/logs", "/logs?line=1", "/logs?q=%3Cscript%3E", "/logs?severity=%3Cscript%3E"):
        page = client.get(path)
        assert "<script>alert" not in page.text
        assert "<b>" not in page.text


def test_a_long_message_is_cut_where_it_says_so(client):
    post(client, line(1, message="x" * 100_000))
    page = client.get("/logs")
    assert "The first 32,768 of 100,000 characters" in page.text
    assert len(page.body) < 60_000


def test_older_lines_are_a_link_away(client):
    post(client, *(line(number) for number in range(300)))
    page = client.get("/logs?limit=200")
    assert texts(page)[0] == "line 299"
    older = re.search(r'href="\?([^"]*before[^"]*)"', page.text)[1].replace("&amp;", "&")
    assert texts(client.get(f"/logs?{older}"))[0] == "line 99"


def test_each_bar_leads_to_its_lines(client):
    post(client, *(line(number, severity="ERROR" if number < 60 else "INFO") for number in range(600)))
    page = client.get("/logs")
    bars = re.findall(r'href="\?([^"]*from[^"]*)"><title>(\d+) lines, (\d+) errors', page.text)
    assert sum(int(lines) for _, lines, _ in bars) == 600
    assert bars[0][1:] == ("10", "10")
    first = client.get(f"/logs?{bars[0][0].replace('&amp;', '&')}&limit=1000")
    assert len(texts(first)) == 10


def test_lines_around_one(client):
    post(client, *(line(number) for number in range(200)))
    page = client.get("/logs?line=101")
    assert texts(page) == [f"line {number}" for number in range(50, 151)]
    assert re.search(r'class="entry quiet chosen" id="line-101" open', page.text)
    assert client.get("/logs?line=999").status == 404
    assert client.get("/logs?line=x").status == 400


def test_a_bad_form_says_what_is_wrong(client):
    page = client.get("/logs?trace=xyz")
    assert page.status == 400
    assert "xyz" in page.text


def test_the_lines_of_a_trace_are_below_it(client):
    span = {"traceId": TRACE, "id": "a1", "name": "get /", "timestamp": 1, "localEndpoint": {"serviceName": "shop"}}
    client.post([span])
    assert "Log lines</h2>" not in client.get(f"/traces/{TRACE}").text
    post(client, line(2, trace=TRACE), line(1, trace=TRACE), line(3))
    page = client.get(f"/traces/{TRACE}")
    assert texts(page) == ["line 1", "line 2"]
    post(client, *(line(number, trace=TRACE) for number in range(10, 250)))
    page = client.get(f"/traces/{TRACE}")
    assert len(texts(page)) == 200
    assert "The first 200 of 242 lines" in page.text


def test_a_trace_without_spans_is_a_page_of_its_lines(client):
    path = f"/traces/{TRACE}"
    assert client.get(path).status == 404
    post(client, line(1, trace=TRACE), line(2))
    page = client.get(path)
    assert page.status == 200
    assert "No span of this trace is stored here" in page.text
    assert texts(page) == ["line 1"]
    assert client.get(f"/find?q={TRACE}").headers["location"] == path


# --- in a browser ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collector():
    with CollectorServer() as server:
        client = client_of(server)
        client.post([{"traceId": TRACE, "id": "a1", "name": "get /", "timestamp": 1, "duration": 9}])
        post(
            client,
            *(line(number, severity=("ERROR", "INFO", "WARNING")[number % 3], trace=TRACE) for number in range(400)),
        )
        post(client, line(401, message="x" * 5000, trace="b1".zfill(32), **{"long" * 50: "y" * 5000}))
        yield server


@pytest.mark.parametrize(
    "path", ["/logs", "/logs?trace=x", "/logs?line=401", "/logs?from=1&to=2", f"/traces/{TRACE}", "/traces/b1"]
)
@pytest.mark.parametrize("width", [390, 3840])
def test_a_page_keeps_to_the_content_policy_and_never_scrolls_sideways(browser, collector, path, width):
    tab = browser.tab(width, 900).open(collector.url + path)
    tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert tab.problems == []
    assert tab.overflow <= 0


def test_it_is_complete_without_script(browser, collector):
    tab = browser.tab(script=False).open(f"{collector.url}/logs")
    page = client_of(collector).get("/logs").text
    assert page.count("<details") == 200
    assert 'id="live" hidden' in page
    assert tab.overflow <= 0


def test_live_lines_come_on_top_and_wait_for_a_reader(browser):
    with CollectorServer() as server:
        client = client_of(server)
        post(client, line(1, trace=TRACE))
        tab = browser.tab().open(f"{server.url}/logs")
        tab.press("p")
        post(client, line(2, trace=TRACE, cart=7, message="two\nTraceback (most recent call last):\nKeyError: 1"))
        tab.wait("document.querySelector('.entry .exception')?.textContent == 'KeyError: 1'")
        assert (
            tab.run("document.querySelector('.entry a[href^=\"/traces\"]').getAttribute('href')") == f"/traces/{TRACE}"
        )
        tab.run("document.querySelector('.entry summary').click()")
        post(client, line(3))
        tab.wait("document.getElementById('live').textContent == '▲ 1 new'")
        assert tab.run("document.querySelectorAll('.entry').length") == 2
        tab.run("document.getElementById('live').click()")
        tab.wait("document.querySelector('.entry .text').textContent == 'line 3'")
        assert tab.run("document.querySelectorAll('.entry').length") == 3
        assert tab.problems == []


def test_a_tail_of_a_search_shows_only_what_matches(browser):
    with CollectorServer() as server:
        client = client_of(server)
        tab = browser.tab().open(f"{server.url}/logs?q=stock&follow=1")
        post(client, line(1, message="no stock"), line(2), line(3, message="stock again", time=time.time()))
        tab.wait("document.querySelectorAll('.entry').length == 2")
        assert tab.run("document.querySelector('.message') === null")
