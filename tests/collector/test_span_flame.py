"""The spans of a trace as a flame graph: equal ones added up, as wide as their self time and that of all below them."""

import re

from obskit.collector.waterfall.calls import add_up, by_operation
from obskit.collector.waterfall.view import view

from .test_waterfall import call, span

BOX = re.compile(
    r'<a href="([^"]*)" tabindex="(-?\d)">.*?width="([\d.]+)%" height="17"><title>(.*?)</title><rect class="(.*?)"'
)


def lines(top, depth=0):
    for one in top.children.values():
        yield f"{'  ' * depth}{one.service} {one.name} x{len(one.spans)} {one.total} {one.own}"
        yield from lines(one, depth + 1)


def of(spans, **how):
    return add_up(node for node in view(spans, **how).rows if node.depth == 0)


def test_a_server_stands_below_its_client_and_widths_are_self_times():
    assert list(lines(of(call()))) == [
        "a unnamed x1 200 100",
        "  a unnamed x1 100 40",
        "    b unnamed x1 60 50",
        "      b unnamed x1 10 10",
    ]


def test_equal_spans_below_equal_spans_are_one_also_where_the_waterfall_folds_them():
    spans = [span("1", None, 0, 100, name="get")]
    spans += [
        span(f"a{n}", "1", 10 * n, 10, "db", name="select", tags={"error": ""} if n == 3 else {}) for n in range(8)
    ]
    spans += [span(f"b{n}", f"a{n}", 10 * n, 4, "disk", name="read") for n in range(8)]
    top = of(spans)
    assert list(lines(top)) == ["a get x1 100 20", "  db select x8 80 48", "    disk read x8 32 32"]
    assert [(one.name, one.own, one.failed) for one in by_operation(top)] == [
        ("select", 48, 1),
        ("read", 32, 0),
        ("get", 20, 0),
    ]


def test_a_span_below_one_of_its_own_kind_counts_once_in_the_table():
    top = of([span("1", None, 0, 100, name="visit"), span("2", "1", 10, 50, name="visit")])
    assert [(one.name, len(one.spans), one.own) for one in by_operation(top)] == [("visit", 2, 100)]


def test_many_spans_in_a_chain_or_without_a_parent_are_added_up():
    chain = [span(f"{n:x}", f"{n - 1:x}" if n > 1 else None, n, 3000 - n) for n in range(1, 2000)]
    assert of(chain).total == 2999
    assert of([span("1", "99", 0, 5), span("2", "98", 0, 7, "b")]).total == 12


def test_the_page_draws_links_and_tables_them(client):
    root = {"traceId": "1", "id": "1", "name": "get /", "timestamp": 1_000_000, "duration": 10_000}
    sides = {"localEndpoint": {"serviceName": "shop"}}
    child = {
        "traceId": "1",
        "parentId": "1",
        "name": "select",
        "timestamp": 1_001_000,
        "tags": {"error": "x<y"},
        **sides,
    }
    client.post([root | sides, child | {"id": "2", "duration": 1000}, child | {"id": "3", "duration": 4000}])
    page = client.get("/traces/1?view=flame&find=SELECT").text
    assert BOX.findall(page) == [
        ("?find=SELECT", "0", "100.000", "whole trace: 11 ms", "whole"),
        (
            "?find=SELECT&amp;span=0000000000000001",
            "-1",
            "100.000",
            "shop: get /: 1 span, 11 ms with all below, 6 ms self time, 100.0 %",
            "of s0",
        ),
        (
            "?find=SELECT&amp;span=0000000000000003",
            "-1",
            "45.455",
            "shop: select x2: 2 spans, 5 ms with all below, 5 ms self time, 45.5 %, 2 failed",
            "found broken",
        ),
    ]
    assert re.findall(r'"number">([^<]*)</td>', page.partition("spent")[2]) == [
        *("1", "6 ms", "54.5 %", "10 ms"),
        *("2", "5 ms", "45.5 %", "4 ms"),
    ]
    assert 'href="?find=SELECT"' in page.partition('class="views"')[2]  # back to the waterfall, the search kept


def test_a_trace_without_durations_says_so(client):
    client.post([{"traceId": "1", "id": "1"}])
    assert "No span of this trace says how long it took" in client.get("/traces/1?view=flame").text


def test_arrow_keys_move_between_the_boxes_and_enter_opens_the_span(browser, shared):
    shared.post([{"traceId": "9", "id": "1", "timestamp": 1, "duration": 100, "name": "top"}])
    for number, took in (("2", 50), ("3", 20)):
        shared.post(
            [{"traceId": "9", "id": number, "parentId": "1", "timestamp": 1, "duration": took, "name": f"n{number}"}]
        )
    tab = browser.tab().open(f"http://{shared.address[0]}:{shared.address[1]}/traces/9?view=flame")
    focused = "document.activeElement.querySelector('title')?.textContent.split(':')[1]?.trim()"
    tab.run("document.querySelector('.flame a[tabindex=\"0\"]').focus()")
    tab.press("ArrowDown", "ArrowDown")
    tab.wait(f"{focused} == 'n2'")
    tab.press("ArrowRight")
    tab.wait(f"{focused} == 'n3'")
    tab.press("ArrowUp")
    tab.wait(f"{focused} == 'top'")
    assert tab.run("document.querySelectorAll('.flame a[tabindex=\"0\"]').length") == 1
    tab.press("ArrowDown", "Enter")
    tab.wait("location.search == '?span=0000000000000002' && document.documentElement.dataset.ready")
    assert tab.problems == []
