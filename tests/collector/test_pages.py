"""The pages: what they show, and that nothing a span holds becomes markup."""

import re
import time
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from obskit.collector.pages import scatter

from . import reference_traces

NOW = int(time.time() * 1_000_000)
NASTY = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{name}"
OWN = re.compile(r"/static/\w+\.js").fullmatch
VOID = {"meta", "link", "input", "circle", "line", "br", "img"}


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


def test_the_list_shows_root_services_count_and_error(client):
    root = {
        "traceId": "1",
        "id": "1",
        "name": "get /",
        "timestamp": NOW,
        "duration": 2500,
        "localEndpoint": {"serviceName": "front"},
    }
    child = {**root, "id": "2", "parentId": "1", "name": "q", "duration": 5, "localEndpoint": {"serviceName": "back"}}
    client.post([{**child, "kind": "SERVER", "tags": {"error": ""}}, root])
    page = outline(client.get("/traces"))
    assert {"get /", "2.5 ms", "2", "error inside", "back", "front", "1 trace, newest first, of 2 requests."} <= set(
        page.text
    )
    assert ("href", "/traces/0000000000000001") in page.attributes
    assert "get /" not in outline(client.get("/traces?service=other")).text
    assert "get /" in outline(client.get("/traces?serviceName=front")).text
    assert " in " not in outline(client.get("/traces?service=front")).text
    assert any("in front: get /" in text for text in outline(client.get("/traces?service=back")).text)


def test_no_more_traces_are_listed_than_the_form_offers(client):
    client.post([{"traceId": f"{number:x}", "id": "1", "timestamp": NOW} for number in range(1, 251)])
    page = outline(client.get("/traces?limit=100000"))
    assert page.elements.count("tr") == 1 + 200
    assert "200 traces, newest first, of 250 requests." in page.text


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("min=soon", "min is 'soon'; give a number with a unit"),
        ("min=5", "min is '5'; give a number with a unit"),
        ("minDuration=soon", "min is 'soon'"),
        ("min=2s&max=1s", "max is less than min"),
        ("last=x", "last is 'x'"),
        ("from=yesterday", "from is 'yesterday'"),
        ("from=2026-11-26&to=2026-11-25", "from is not before to"),
        ("sort=colour", "sort is 'colour'"),
        ("limit=0", "limit is '0'"),
    ],
)
def test_a_form_that_makes_no_sense_is_answered_with_the_reason_and_keeps_what_was_typed(client, query, reason):
    page = outline(client.get(f"/traces?{query}"), 400)
    assert any(reason in text for text in page.text)
    if query == "min=soon":
        assert ("value", "soon") in page.attributes
    assert client.get(f"/api/obskit/v1/requests?{query}").status in {200, 400}


def names_listed(client, query):
    text = client.get(f"/traces?{query}").text
    return re.findall(r"</span>(\w+)</a>", text)


@pytest.fixture
def requests(client):
    """Four requests: a at 1 s that took 1 ms, b at 2 s that took 2 s and failed, c with a tag, d that calls a store."""

    def one(number, name, **fields):
        local = {"serviceName": "shop" if number % 2 else "bank"}
        when = NOW - (10 - number) * 1_000_000
        return {"traceId": f"a{number}", "id": "1", "name": name, "timestamp": when, "localEndpoint": local, **fields}

    client.post(
        [
            one(1, "a", duration=1_000, kind="SERVER"),
            one(2, "b", duration=2_000_000, tags={"error": "x"}),
            one(3, "c", duration=150_000, tags={"colour": "red"}),
            one(4, "d", duration=500, kind="CLIENT", remoteEndpoint={"serviceName": "store"}),
        ]
    )
    return client


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "dbca"),  # by their ends: 4, 4, 3.15 and 1.001 s
        ("sort=end", "acbd"),
        ("sort=-took", "bcad"),
        ("sort=took", "dacb"),
        ("service=shop", "ca"),
        ("service=bank&name=d", "d"),
        ("name=A", "a"),
        ("min=1ms", "bca"),
        ("max=1ms", "da"),
        ("min=100ms&max=1.5s", "c"),
        ("minDuration=150000&maxDuration=150000", "c"),
        ("errors=1", "b"),
        ("tags=colour=red", "c"),
        ("annotationQuery=error", "b"),
        ("remote=store", "d"),
        ("remoteServiceName=store&spanName=d", "d"),
        ("limit=2", "db"),
        ("from={early}&to={late}", "c"),
        ("endTs={early}&lookback=900000", "a"),
        ("last=all", "dbca"),
        ("to=2026-01-01", ""),
    ],
)
def test_requests_are_found_by_everything_in_the_form_and_by_zipkins_names_of_it(requests, query, names):
    moments = {"early": (NOW - 8_000_000) // 1000, "late": (NOW - 6_500_000) // 1000}
    assert "".join(names_listed(requests, query.format_map(moments))) == names


def test_the_dots_are_those_of_the_search(requests):
    dots = requests.get("/api/obskit/v1/requests?min=1ms").json
    assert dots["total"] == 3
    shown = sorted(zip(dots["took"], dots["end"], strict=True))
    assert [took for took, _ in shown] == [1_000, 150_000, 2_000_000]
    assert shown[2][1] + dots["first"] == NOW - 6_000_000
    assert [dots["took"][number] for number in dots["failed"]] == [2_000_000]


def test_each_dot_has_the_service_of_its_request(client):
    services = [f"s{number % 3}" for number in range(30)]
    for number, service in enumerate(services):
        span = {"traceId": f"{number + 1:x}", "id": "1", "timestamp": NOW - number, "duration": number + 1}
        client.post([{**span, "localEndpoint": {"serviceName": service}}])
    dots = client.get("/api/obskit/v1/requests").json
    shown = {took: dots["services"][number] for took, number in zip(dots["took"], dots["service"], strict=True)}
    assert shown == {number + 1: service for number, service in enumerate(services)}
    assert len(set(dots["colours"])) == len(dots["services"]) == 3


def test_too_many_dots_are_counted_in_cells_and_none_is_missing(requests, monkeypatch):
    monkeypatch.setattr(scatter, "MOST_DOTS", 3)
    shown = requests.get("/api/obskit/v1/requests?top=1s").json
    assert sum(count for _, _, count, _ in shown["grid"]) == shown["total"] == 4
    assert sum(failed for *_, failed in shown["grid"]) == 1
    assert max(y for _, y, _, _ in shown["grid"]) == shown["high"] - 1  # what is above the scale is on its edge


def test_a_time_without_requests_leads_to_the_newest(requests):
    page = outline(requests.get("/traces?to=2026-01-01"))
    assert any("No requests match in this time. 4 spans are stored" in text for text in page.text)
    link = next(value for name, value in page.attributes if name == "href" and value.startswith("?last=1h&to="))
    assert names_listed(requests, link[1:])


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
    assert any("Rows 1 to 200 of 2,101." in text for text in page.text)
    assert ("href", "?offset=200") in page.attributes
    last = outline(client.get("/traces/1?offset=2000"))
    assert any("Rows 2,001 to 2,101 of 2,101." in text for text in last.text)
    assert "n2102" in last.text


def test_the_page_of_a_trace_finds_shows_one_span_and_focuses_without_script(client):
    root = {"traceId": "1", "id": "1", "name": "get /", "timestamp": NOW, "duration": 9000}
    child = {**root, "id": "2", "parentId": "1", "name": "query", "tags": {"sql.query": "select 7"}}
    other = {**root, "id": "3", "parentId": "1", "name": "other"}
    client.post([root, child, other])
    found = outline(client.get("/traces/1?find=SELECT"))
    assert "1 row" in found.text
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


@pytest.mark.parametrize("path", ["/", "/traces", "/logs", "/profiles", "/graph"])
def test_an_empty_page_has_the_line_that_fills_it(shared, path):
    host, port = shared.address
    line = f'obskit.init(service="shop", collector="http://{host}:{port}")'
    assert line in "".join(outline(shared.get(path)).text)


def test_a_text_of_several_lines_stands_without_its_indent_and_what_surrounds_it(client):
    sql = "\n        SELECT *\n          FROM orders\n        "
    client.post([{**span_of("1"), "tags": {"db.statement": sql}}])
    assert "SELECT *\n  FROM orders" in outline(client.get("/traces/1?span=0000000000000abc")).text
