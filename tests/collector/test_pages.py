"""The pages: what they show, and that nothing a span holds becomes markup."""

import re
import time
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from . import reference_traces

NOW = int(time.time() * 1_000_000)
NASTY = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{name}"
OWN = re.compile(r"/static/\w+\.js").fullmatch
VOID = {"meta", "link", "input", "rect", "circle", "line", "br", "img"}


class Outline(HTMLParser):
    """The elements, attributes and text of a page; complains about tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def outline(answer, status=200):
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Outline(answer.text)


def only_own_scripts(page):
    sources = [value for name, value in page.attributes if name == "src"]
    return all(map(OWN, sources)) and len(sources) == page.elements.count("script")


def nasty_span():
    endpoint = {"serviceName": NASTY, "ipv4": "1.2.3.4", "port": 1}
    return {
        "traceId": "1",
        "id": "2",
        "parentId": "3",
        "timestamp": NOW,
        "duration": 5,
        "name": NASTY,
        "kind": "CLIENT",
        "localEndpoint": endpoint,
        "remoteEndpoint": endpoint,
        "tags": {NASTY: NASTY, "error": NASTY},
        "annotations": [{"timestamp": NOW, "value": NASTY}],
    }


def test_no_text_of_a_span_becomes_markup(client):
    client.post([nasty_span()])
    for path in ("/traces", "/traces/1"):
        page = outline(client.get(path))
        assert only_own_scripts(page)
        assert not {"img", "style", "iframe"} & set(page.elements)
        assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
        assert any(NASTY.lower() in text.lower() for text in page.text)


def test_no_parameter_becomes_markup(client):
    quoted = "%22%3E%3Cscript%3E1%3C/script%3E"
    for name in ("serviceName", "annotationQuery", "minDuration", "lookback", "limit", "endTs", "x"):
        answer = client.get(f"/traces?{name}={quoted}")
        assert only_own_scripts(Outline(answer.text))
    assert only_own_scripts(Outline(client.get(f"/traces/{quoted.replace('/', '%2f')}").text))


@pytest.mark.parametrize("name", reference_traces.NAMES)
def test_every_span_of_a_real_trace_is_in_its_page(client, name):
    spans = reference_traces.load(name)
    client.post(spans)
    path = f"/traces/{spans[0]['traceId']}"
    page = outline(client.get(path))
    stored = client.get(f"/api/v2/trace/{spans[0]['traceId']}").json
    columns = client.get(f"/api/obskit/v1/trace/{spans[0]['traceId']}/rows").json
    lines = [str(line) for line in range(len(columns["id"])) if str(line) not in columns["repeats"]]
    assert columns["spans"] == len(stored) == sum(2 if line in columns["half"] else 1 for line in lines)
    assert page.elements.count("svg") - 1 == min(len(columns["id"]), 200) or len(columns["services"]) == 1


def test_the_recent_page_shows_root_services_count_and_error(client):
    root = {
        "traceId": "1",
        "id": "1",
        "name": "get /",
        "timestamp": NOW,
        "duration": 2500,
        "localEndpoint": {"serviceName": "front"},
    }
    child = {**root, "id": "2", "parentId": "1", "name": "q", "duration": 5, "localEndpoint": {"serviceName": "back"}}
    client.post([{**child, "tags": {"error": ""}}, root])
    page = outline(client.get("/traces"))
    assert {"front: get /", "2.5 ms", "2", "error", "back", "front"} <= set(page.text)
    assert ("href", "/traces/0000000000000001") in page.attributes
    assert "front: get /" not in outline(client.get("/traces?serviceName=other")).text
    assert "front: get /" in outline(client.get("/traces?serviceName=front")).text


def test_the_recent_page_lists_no_more_traces_than_its_form_offers(client):
    client.post([{"traceId": f"{number:x}", "id": "1", "timestamp": NOW} for number in range(1, 251)])
    assert outline(client.get("/traces?limit=100000")).elements.count("tr") == 1 + 200


def test_a_form_that_makes_no_sense_is_answered_with_the_reason_and_keeps_what_was_typed(client):
    page = outline(client.get("/traces?minDuration=soon"), 400)
    assert any("minDuration is 'soon'" in text for text in page.text)
    assert ("value", "soon") in page.attributes


@pytest.mark.parametrize("timestamp", [None, 1, 2**63 - 1, 253_402_300_800_000_000])
@pytest.mark.parametrize("duration", [None, 1, 2**63 - 1])
def test_absurd_times_make_a_page_all_the_same(client, timestamp, duration):
    odd = {"traceId": "1", "id": "2", "timestamp": timestamp, "duration": duration}
    client.post([odd, {"traceId": "1", "id": "3", "annotations": [{"timestamp": -(2**63), "value": "a"}]}])
    outline(client.get("/traces/1"))
    outline(client.get("/traces?endTs=9223372036854775807&lookback=9223372036854775807"))


def test_bars_stay_inside_the_page(client):
    spans = [{"traceId": "1", "id": f"{n:x}", "timestamp": n * 10**6, "duration": n * 10**7} for n in range(1, 9)]
    client.post([*spans, {"traceId": "1", "id": "a", "timestamp": 88 * 10**6}])  # begins when the last one ends
    page = outline(client.get("/traces/1"))
    places = [
        float(value[:-1]) for name, value in page.attributes if name in {"x", "cx", "width"} and value.endswith("%")
    ]
    assert places
    assert all(0 <= place <= 100 for place in places)


@pytest.mark.parametrize(("path", "status"), [("/traces/zz", 400), ("/traces/abc", 404)])
def test_a_trace_that_is_not_there_has_a_page_that_says_so(client, path, status):
    assert any("trace" in text.lower() for text in outline(client.get(path), status).text)


def test_a_large_trace_comes_in_pages_which_say_so(client):
    client.post([{"traceId": "1", "id": f"{number:x}", "name": f"n{number}"} for number in range(2, 2103)])
    page = outline(client.get("/traces/1"))
    assert any("Lines 1 to 200 of 2,101." in text for text in page.text)
    assert ("href", "?offset=200") in page.attributes
    last = outline(client.get("/traces/1?offset=2000"))
    assert any("Lines 2,001 to 2,101 of 2,101." in text for text in last.text)
    assert "n2102" in last.text


def test_the_page_of_a_trace_finds_shows_one_span_and_focuses_without_script(client):
    root = {"traceId": "1", "id": "1", "name": "get /", "timestamp": NOW, "duration": 9000}
    child = {**root, "id": "2", "parentId": "1", "name": "query", "tags": {"sql.query": "select 7"}}
    other = {**root, "id": "3", "parentId": "1", "name": "other"}
    client.post([root, child, other])
    found = outline(client.get("/traces/1?find=SELECT"))
    assert "1 line" in found.text
    assert "query" in found.text
    assert "other" not in found.text
    assert {"sql.query", "select 7"} <= set(outline(client.get("/traces/1?span=0000000000000002")).text)
    focused = outline(client.get("/traces/1?focus=0000000000000002"))
    assert "other" not in focused.text
    assert any("Only one span" in text for text in focused.text)


def test_style_sheet_and_scripts_are_files_that_a_browser_keeps_while_they_are_the_same(client):
    for name, kind in {"style.css": "text/css", "common.js": "text/javascript", "icon.svg": "image/svg+xml"}.items():
        answer = client.get(f"/static/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert client.request("GET", f"/static/{name}", headers={"if-none-match": answer.headers["etag"]}).status == 304
    assert client.get("/static/nothing.js").status == client.get("/static/..%2fframe.py").status == 404


@pytest.mark.parametrize("name", ["style.css", "common.js", "elements.js"])
def test_no_file_of_the_pages_loads_anything_from_elsewhere(client, name):
    text = client.get(f"/static/{name}").text
    assert "//" not in re.sub(r"^\s*//.*|http://www.w3.org/2000/svg", "", text, flags=re.MULTILINE)


def span_of(trace_id, **fields):
    return {"traceId": trace_id, "id": "abc", "timestamp": NOW, "localEndpoint": {"serviceName": "front"}, **fields}


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ("463ac35c9f6413ad48485a3953bb6124", ""),
        (" 463AC35C9F6413AD48485A3953BB6124 ", ""),
        ("463ac35c-9f64-13ad-4848-5a3953bb6124", ""),
        ("53bb6124", ""),
        ("00-463ac35c9f6413ad48485a3953bb6124-0000000000000abc-01", ""),
        ("ABC", "?span=0000000000000abc"),
        ("0000000000000abc", "?span=0000000000000abc"),
    ],
)
def test_an_id_leads_to_its_trace_however_it_was_copied(client, asked, query):
    client.post([span_of("463ac35c9f6413ad48485a3953bb6124")])
    answer = client.get(f"/find?q={quote(asked)}")
    assert (answer.status, answer.headers["location"]) == (302, f"/traces/463ac35c9f6413ad48485a3953bb6124{query}")


@pytest.mark.parametrize(("asked", "status"), [("", 400), ("zz", 400), ("0", 400), ("a" * 33, 400), ("53bb6125", 404)])
def test_what_is_no_id_or_of_nothing_is_said(client, asked, status):
    assert outline(client.get(f"/find?q={asked}"), status)
