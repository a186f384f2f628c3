"""The pages in a real browser: nothing against the content policy, on any width, with script and without."""

import json
import time

import pytest

from obskit.collector.server import CollectorServer

from . import shop
from .chromium import LOADED
from .conftest import client_of

NOW = int(time.time() * 1_000_000)


def trace(trace_id="a1", **root):
    endpoint = {"serviceName": "front", "ipv4": "10.0.0.1"}
    first = {"traceId": trace_id, "id": "1", "name": "get /", "timestamp": NOW, "duration": 9000, "kind": "SERVER"}
    child = {"traceId": trace_id, "id": "2", "parentId": "1", "name": "select " + "x" * 300, "timestamp": NOW + 1000}
    return [
        {**first, "localEndpoint": endpoint, **root},
        {**child, "duration": 5000, "localEndpoint": {"serviceName": "back"}, "tags": {"error": "y" * 500}},
    ]


@pytest.fixture(scope="module")
def collector():
    with CollectorServer() as server:
        client_of(server).post(trace())
        yield server


@pytest.fixture(scope="module")
def full():
    """A collector with something on every page."""
    with CollectorServer() as server:
        shop.fill(server)
        yield server


@pytest.mark.parametrize("path", shop.PAGES)
@pytest.mark.parametrize(("width", "height"), [(390, 844), (3840, 2160)])
def test_a_page_keeps_to_the_content_policy_and_never_scrolls_sideways(browser, full, path, width, height):
    tab = browser.tab(width, height).open(full.url + path)
    tab.wait(shop.SETTLED)
    assert tab.problems == []
    assert tab.overflow <= 0
    assert tab.clipped == []


def test_from_the_first_page_a_failing_request_is_two_actions_away(browser, collector):
    """The number of a service's errors, then the row."""
    client_of(collector).post(trace("ef", timestamp=NOW + 1, tags={"error": "planted"}))
    tab = browser.tab().open(f"{collector.url}/")
    tab.run("document.querySelector('.health a[href*=errors]').click()")
    tab.wait("location.pathname == '/traces' && !!document.querySelector('.traces a')")
    tab.run("document.querySelector('.traces a').click()")
    tab.wait("location.pathname == '/traces/00000000000000ef' && document.documentElement.dataset.ready")
    assert tab.run("document.querySelector('#span').textContent").count("planted") == 1


def test_a_rectangle_on_the_first_page_lists_on_the_page_of_traces(browser, collector):
    tab = browser.tab(height=1600).open(f"{collector.url}/")
    tab.wait("document.documentElement.dataset.ready")
    x, y, width, height = box(tab, "document.querySelector('#scatter canvas')")
    tab.drag((x + 1, y + 1), (x + width - 1, y + height - 1))
    tab.wait("location.pathname == '/traces' && !!document.querySelector('.traces a')")
    assert tab.problems == []


def test_light_and_dark_and_the_time_zone_are_switched_and_stay(browser, collector):
    tab = browser.tab().open(f"{collector.url}/traces")
    light = tab.run("getComputedStyle(document.body).backgroundColor")
    tab.run("document.getElementById('theme').click()")
    zone = tab.run("document.getElementById('zone').textContent")
    tab.run("document.getElementById('zone').click()")
    tab.open(f"{collector.url}/traces")
    assert tab.run("getComputedStyle(document.body).backgroundColor") != light
    assert tab.run("document.querySelector('time').title").endswith(" UTC") == (zone == "UTC")


def test_keys_lead_to_the_box_for_ids_and_from_there_to_a_trace(browser, collector):
    tab = browser.tab().open(f"{collector.url}/traces")
    tab.press("/")
    tab.type("000000A1")
    tab.press("Enter")
    tab.wait(f"location.pathname == '/traces/00000000000000a1' && {LOADED}")
    tab.press("g", "t")
    tab.wait("location.pathname == '/traces'")


def big_trace(count):
    """Calls within calls, every 600th of which fails."""
    spans = []
    for number in range(1, count + 1):
        parent = (number + 2) // 4
        spans.append(
            {
                "traceId": "b1",
                "id": f"{number:x}",
                **({"parentId": f"{parent:x}"} if parent else {}),
                "name": f"operation {number % 37}",
                "timestamp": NOW + number * 10,
                "duration": 1_000_000 // number + 10,
                "localEndpoint": {"serviceName": f"service-{number % 12}"},
                "tags": {"number": str(number), **({"error": "boom"} if number % 600 == 0 else {})},
            }
        )
    return spans


@pytest.fixture(scope="module")
def big(collector):
    for start in range(0, 5000, 1000):
        client_of(collector).post(big_trace(5000)[start : start + 1000])
    return f"{collector.url}/traces/b1"


def test_a_trace_of_5000_spans_is_ready_soon_after_its_page_has_loaded(browser, collector, big):
    """Within 300 ms of what the page and the server compute for it, as the machine may be busy with other things.

    The least of a few: a shared processor is slower at times, and the page's first visits compile its scripts.
    """
    tab = browser.tab().open(big)
    tab.wait("document.documentElement.dataset.ready")
    client, spent = client_of(collector), []
    while not spent or (min(spent) > 0.3 and len(spent) < 24):
        begun = tab.cpu()
        tab.open(big).wait("document.documentElement.dataset.ready")
        in_page, begun = tab.cpu() - begun, time.process_time()
        assert client.get("/api/obskit/v1/trace/b1/rows").status == 200
        spent.append(in_page + time.process_time() - begun)
    assert min(spent) <= 0.3, spent
    assert tab.run("document.querySelectorAll('#rows .row').length") <= 80
    assert tab.problems == []


def says(text):
    return f"document.getElementById('found').textContent == {text!r}"


def test_keys_alone_reach_the_seventh_error_and_the_matches_of_a_text(browser, big):
    tab = browser.tab().open(big)
    tab.wait(shop.SETTLED)
    tab.press(*"eeeeeee")
    tab.wait(says("error 7 of 8"))
    tab.wait("!!document.querySelector('#rows .chosen .error')")
    tab.wait("document.querySelector('#span').textContent.includes('boom')")
    tab.press("/")
    tab.type("number=12")
    tab.press("Enter")
    tab.wait("document.getElementById('found').textContent.endsWith(' of 111')")  # 12, 120-129, 1200-1299
    first = tab.run("document.getElementById('found').textContent")
    tab.press("Escape", "n")
    tab.wait(f"!({says(first)})")
    tab.wait("document.querySelector('#rows .chosen').classList.contains('match')")
    assert "find=number" in tab.run("location.search")
    assert "span=" in tab.run("location.search")
    assert tab.problems == []


def test_keys_move_fold_zoom_and_mark_the_critical_path(browser, big):
    tab = browser.tab().open(big)
    tab.wait(shop.SETTLED)
    lines = "document.querySelector('#rows .spacer').style.height"
    whole = tab.run(lines)
    tab.press("ArrowLeft")
    tab.wait(f"{lines} == '24px'")
    tab.press("ArrowRight")
    tab.wait(f"{lines} == {whole!r}")
    tab.press("j")
    tab.wait("document.querySelector('#rows .chosen .name').textContent == 'operation 2'")
    tab.press("+", "+")
    tab.wait("document.querySelector('.ticks span').textContent != '0'")
    tab.press("0", "c")
    tab.wait("document.querySelector('.ticks span').textContent == '0'")
    tab.wait("document.querySelectorAll('#rows .waited').length > 0")
    tab.press("f")
    tab.wait("location.search.includes('focus=0000000000000002') && document.documentElement.dataset.ready")
    assert tab.run("document.querySelector('#rows').getAttribute('role')") == "treegrid"
    assert tab.problems == []


def test_repeated_siblings_are_one_line_that_a_click_opens(browser, collector):
    root = {"traceId": "c1", "id": "1", "name": "get /", "timestamp": NOW, "duration": 900_000}
    repeats = [
        {"traceId": "c1", "id": f"{number:x}", "parentId": "1", "name": "select", "timestamp": NOW, "duration": 1000}
        for number in range(2, 702)
    ]
    client_of(collector).post([root, *repeats])
    tab = browser.tab().open(f"{collector.url}/traces/c1")
    tab.wait("document.documentElement.dataset.ready")
    assert tab.run("document.querySelectorAll('#rows .row').length") == 2
    assert "x700 sum 700 ms, longest 1 ms" in tab.run("document.getElementById('r1').textContent")
    tab.run("document.getElementById('r1').click()")
    assert tab.run("document.querySelector('#rows .spacer').style.height") == f"{702 * 24}px"
    assert "mean" in tab.run("document.getElementById('span').textContent")


def box(tab, selector):
    return tab.run(f"(({{x, y, width, height}}) => [x, y, width, height])({selector}.getBoundingClientRect())")


def test_a_rectangle_over_the_dots_lists_what_is_inside_and_its_row_leads_to_the_trace(browser):
    """Two actions from all requests to the one that was slow."""
    with CollectorServer() as server:
        now = int(time.time() * 1_000_000)
        quick = [trace(f"d{number:x}", timestamp=now - number * 1_000_000, name="quick") for number in range(1, 100)]
        slow = trace("e1", timestamp=now - 50_000_000, duration=3_000_000, name="slow")
        client_of(server).post([span for spans in [*quick, slow] for span in spans])
        tab = browser.tab().open(f"{server.url}/traces?last=15m")
        tab.wait("document.documentElement.dataset.ready")
        x, y, width, height = box(tab, "document.querySelector('#scatter canvas')")
        tab.drag((x + width / 2, y + 1), (x + width - 1, y + 0.7 * height))
        tab.wait("location.search.includes('min=') && document.documentElement.dataset.ready")
        assert "max=" not in tab.run("location.search")
        assert tab.run("[...document.querySelectorAll('.traces a')].map((a) => a.textContent)") == ["frontslow"]
        tab.run("document.querySelector('.traces a').click()")
        tab.wait("location.pathname == '/traces/00000000000000e1'")
        assert tab.problems == []


def test_a_new_request_is_drawn_and_said_without_a_reload(browser):
    with CollectorServer() as server:
        client_of(server).post(trace("f1", timestamp=int(time.time() * 1_000_000) - 5_000_000))
        tab = browser.tab().open(f"{server.url}/traces")
        tab.wait("document.documentElement.dataset.ready")
        client_of(server).post(trace("f2", timestamp=int(time.time() * 1_000_000) + 500_000))
        tab.wait("document.getElementById('new').textContent == '1 new'")
        assert tab.problems == []


def test_a_file_of_a_trace_is_looked_at(browser, collector):
    tab = browser.tab().open(f"{collector.url}/traces")
    spans = json.dumps([[{"traceId": "ab", "id": "1", "name": "from a file", "timestamp": 1, "duration": 5}]])
    tab.run(
        "{ const files = new DataTransfer(); const input = document.querySelector('#upload input');"
        f"files.items.add(new File([{json.dumps(spans)}], 'trace.json')); input.files = files.files;"
        "input.dispatchEvent(new Event('change')); }"
    )
    tab.wait("location.pathname == '/traces/ab' && document.querySelector('h1 .name')?.textContent == 'from a file'")
