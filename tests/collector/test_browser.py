"""The pages in a real browser: nothing against the content policy, on any width, with script and without."""

import time

import pytest

from obskit.collector.server import CollectorServer

from .conftest import client_of

NOW = int(time.time() * 1_000_000)
PAGES = ["/traces", "/traces?serviceName=front", "/traces?minDuration=x", "/traces/a1", "/find?q=77", "/traces/77"]


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


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("width", "height"), [(390, 844), (3840, 2160)])
def test_a_page_keeps_to_the_content_policy_and_never_scrolls_sideways(browser, collector, path, width, height):
    tab = browser.tab(width, height).open(collector.url + path)
    assert tab.problems == []
    assert tab.overflow <= 0


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
    tab.wait("location.pathname == '/traces/00000000000000a1'")
    tab.wait("document.readyState == 'complete'")
    tab.press("g", "t")
    tab.wait("location.pathname == '/traces'")
