"""The pages of services: numbers, charts, who calls whom, incidents; and that every picture leads to its list."""

import re
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest

from obskit.collector.pages.graph_layout import layout

from .test_pages import only_own_scripts, outline

MINUTE = 60_000_000


def served(number, service="shop", ago=5, took=10_000, parent=None, **fields):
    """A request that began some minutes ago."""
    return {
        "traceId": f"{number:x}",
        "id": f"{number:x}",
        **({"parentId": parent} if parent else {}),
        "name": f"get {service}",
        "kind": "SERVER",
        "timestamp": int(time.time() * 1_000_000) - ago * MINUTE,
        "duration": took,
        "localEndpoint": {"serviceName": service},
        **fields,
    }


@pytest.fixture
def busy(client):
    """A shop that fails often, a bank that never does, and a call from the one to the other."""
    shop = [served(n, tags={"error": "no"} if n % 4 == 0 else {}) for n in range(1, 101)]
    call = {**served(1, parent="1"), "id": "a0", "kind": "CLIENT", "name": "get", "tags": {"error": "x"}}
    call["remoteEndpoint"] = {"serviceName": "bank"}
    bank = [served(1, "bank", parent="a0", id="b0"), *(served(n, "bank", 7, 900_000) for n in range(200, 400))]
    client.post([*shop, call, *bank])
    return client


def test_services_that_fail_come_first_and_every_number_leads_to_its_requests(busy):
    answer = busy.get("/?last=15m")
    page = outline(answer)
    assert only_own_scripts(page)
    assert [text for text in page.text if text in {"shop", "bank"}][:2] == ["shop", "bank"]
    assert {"failing", "100", "25 (25.0 %)", "201"} <= set(page.text)
    link = next(value for name, value in page.attributes if name == "href" and "errors=1" in value)
    assert "25 requests" in busy.get(link).text


def test_the_first_page_has_a_strip_of_incidents(busy):
    page = outline(busy.get("/?last=15m"))
    assert "1 incidents of shop" in [value for name, value in page.attributes if name == "aria-label"]
    assert ("href", "/incidents?last=15m") in page.attributes


def test_the_first_page_says_what_is_stored(busy):
    assert any("302 spans stored" in text for text in outline(busy.get("/")).text)


@pytest.mark.parametrize("path", ["/", "/services/shop", "/graph", "/traces"])
def test_a_window_begins_with_the_first_numbers(client, path):
    client.post([served(1, ago=5), served(2, ago=2)])
    begin = re.search(r'<time datetime="([^"]+)">', client.get(f"{path}?last=1d").text)[1]
    age = datetime.now(timezone.utc) - datetime.fromisoformat(begin.replace("Z", "+00:00"))
    assert timedelta(minutes=5) <= age < timedelta(minutes=6, seconds=30)
    explicit = int(time.time() * 1000) - 3_600_000
    begin = re.search(r'<time datetime="([^"]+)">', client.get(f"{path}?from={explicit}").text)[1]
    assert datetime.now(timezone.utc) - datetime.fromisoformat(begin.replace("Z", "+00:00")) > timedelta(minutes=59)


def test_requests_a_minute_count_from_the_first_minute_on(client):
    client.post([served(number, ago=2) for number in range(1, 301)])
    rates = [text for text in outline(client.get("/?last=1d")).text if text in {"100.0", "75.0"}]
    assert len(rates) == 1


def test_the_errors_of_a_call_lead_to_its_requests(busy):
    attributes = outline(busy.get("/graph")).attributes
    link = next(value for name, value in attributes if name == "href" and "errors=1" in value)
    query = parse_qs(urlsplit(link).query)
    assert (query["service"], query["remote"]) == (["shop"], ["bank"])
    assert "1 trace," in busy.get(link).text


def test_an_empty_collector_has_every_page(client):
    for path in ("/", "/services/none", "/graph", "/incidents", "/?last=all", "/graph?last=all&service=x"):
        assert only_own_scripts(outline(client.get(path)))


@pytest.mark.parametrize("path", ["/", "/services/x", "/graph", "/incidents"])
def test_a_time_that_is_none_is_said(client, path):
    assert any("last is 'soon'" in text for text in outline(client.get(f"{path}?last=soon"), 400).text)


def test_a_services_page_has_its_numbers_neighbours_and_latest_errors(busy):
    page = outline(busy.get("/services/Bank?last=15m"))
    assert {"201", "0 (0.0 %)", "get bank", "1 call"} <= set(page.text)
    assert ("href", "/services/shop?last=15m") in page.attributes
    shop = outline(busy.get("/services/shop?last=15m"))
    assert {"Latest errors", "1 error"} <= set(shop.text)
    assert sum(name == "href" and value.startswith("/traces/0") for name, value in shop.attributes) == 10


@pytest.mark.parametrize("path", ["/services/shop?last=15m", "/services/bank?last=15m"])
def test_every_bar_of_a_chart_leads_to_as_many_requests_as_it_shows(busy, path):
    answer = busy.get(path)
    total = 0
    for href, title in re.findall(r'<a href="(/traces\?[^"]*min=[^"]*)"><title>([^<]*)', answer.text):
        shown = int(title.rpartition(" ")[2].replace(",", ""))
        if shown:
            found = busy.get(href.replace("&amp;", "&").replace("/traces", "/api/obskit/v1/requests")).json
            assert found["total"] == shown
            total += shown
    assert total == (100 if "shop" in path else 201)


def test_the_graph_draws_services_and_calls_and_its_table_says_the_same(busy):
    page = outline(busy.get("/graph?last=15m"))
    assert any("shop calls bank: 1 call, 1 error" in text for text in page.text)
    row = next(value for name, value in page.attributes if name == "href" and "remote=bank" in value)
    assert parse_qs(urlsplit(row).query) == {"service": ["shop"], "remote": ["bank"], "last": ["15m"]}
    assert "1 trace" in busy.get(row).text or "1 trace," in busy.get(row).text
    assert "No calls between services" in busy.get("/graph?last=15m&service=other").text


def test_nothing_that_a_service_is_called_becomes_markup(client):
    name = "</title><script>1</script>\"'&amp;"
    client.post([{**served(1, name), "kind": "CLIENT", "remoteEndpoint": {"serviceName": name + "2"}}])
    for path in ("/", "/graph", "/incidents", "/services/%3C%2Ftitle%3E%3Cscript%3E"):
        assert only_own_scripts(outline(client.get(path)))


@pytest.mark.parametrize(
    "edges",
    [
        [("a", "b"), ("b", "c"), ("a", "c")],
        [("a", "b"), ("b", "a")],
        [("a", "a")],
        [("a", "b"), ("b", "c"), ("c", "a"), ("d", "b")],
        [(f"{n}", f"{n + 1}") for n in range(2000)],
    ],
)
def test_every_service_has_a_place_of_its_own_and_callers_stand_left(edges):
    places = layout(edges)
    assert set(places) == {name for edge in edges for name in edge}
    assert len(set(places.values())) == len(places)
    backward = [edge for edge in edges if places[edge[0]][0] >= places[edge[1]][0]]
    assert len(backward) <= 1  # what closes a circle


@pytest.mark.parametrize("path", ["/", "/services/shop", "/graph", "/zipkin/dependency"])
def test_a_time_that_is_none_is_answered_with_a_page(client, path):
    answer = client.get(path + "?last=soon")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "soon&#x27;; give a number with a unit" in answer.text
