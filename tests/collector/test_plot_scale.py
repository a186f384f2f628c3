"""The scales of the scatter plot: the server's, and that of the script, which must be the same."""

import json
import time
from itertools import pairwise

import pytest

from obskit.collector.pages import scatter
from obskit.collector.pages.duration_scale import Scale
from obskit.collector.server import CollectorServer

from .conftest import client_of
from .test_browser import box

NOW = int(time.time() * 1_000_000)
DURATIONS = [3, 40, 500, 6_000, 70_000, 800_000]
HOUR, DAY = 3_600_000_000, 86_400_000_000
DRAWN = """import('/static/plot_axes.js').then(({ Scale, BASE, EDGE }) => {
    const scale = new Scale(%s), height = BASE + EDGE + 1000;
    return %s.map((took) => [scale.y(took, height), scale.took(scale.y(took, height), height), scale.marks()]); })"""
TIMES = "import('/static/plot_axes.js').then(({ roundTimes }) => roundTimes(%s, %s, 12, %s))"


def request(number, took, service="shop"):
    span = {"traceId": f"{number:x}", "id": "1", "name": f"n{took}", "timestamp": NOW - number * 1000 - took}
    return {**span, "duration": took, "localEndpoint": {"serviceName": service}}


@pytest.fixture(scope="module")
def collector():
    with CollectorServer() as server:
        client_of(server).post([request(number, took) for number, took in enumerate(DURATIONS, 1)])
        yield server


def test_a_logarithmic_scale_gives_each_decade_the_same_height():
    scale = Scale(1, 10**6, True)
    assert [scale.row(10**power * 1.01, 60) for power in range(6)] == [0, 10, 20, 30, 40, 50]
    assert (scale.row(0, 60), scale.row(10**9, 60)) == (0, 59)


def test_it_has_the_decades_of_the_requests(collector):
    shown = client_of(collector).get("/api/obskit/v1/requests?scale=log").json
    assert (shown["bottom"], shown["top"], shown["log"]) == (1, 1_000_000, True)
    shown = client_of(collector).get("/api/obskit/v1/requests").json
    assert (shown["bottom"], shown["top"], shown["log"]) == (0, 1_000_000, False)


def test_no_request_is_missing_in_the_density_of_either(collector, monkeypatch):
    monkeypatch.setattr(scatter, "MOST_DOTS", 3)
    rows = {}
    for name in ("log", ""):
        shown = client_of(collector).get(f"/api/obskit/v1/requests?scale={name}").json
        assert sum(count for _, _, count, _ in shown["grid"]) == len(DURATIONS)
        rows[name] = {y for _, y, _, _ in shown["grid"]}
    assert len(rows["log"]) == len(DURATIONS) > len(rows[""])


@pytest.mark.parametrize("path", ["/?last=1h", "/services/shop?last=1h", "/traces?min=1us"])
def test_a_link_leads_to_the_other_scale_and_keeps_the_rest(collector, path):
    client = client_of(collector)
    page = client.get(path).text
    log = f"{path.partition('?')[2]}&amp;scale=log#scatter"
    assert f'href="?{log}">log scale' in page
    page = client.get(f"{path}&scale=log").text
    assert f'href="?{path.partition("?")[2]}#scatter">linear scale' in page
    assert ('name="scale" value="log"' in page) == path.startswith("/traces")


@pytest.mark.parametrize("is_log", [False, True])
def test_the_script_has_the_scale_of_the_server_and_its_inverse(browser, collector, is_log):
    scale = Scale(1, 10**6, is_log)
    tab = browser.tab().open(f"{collector.url}/graph")
    drawn = tab.run(DRAWN % (json.dumps({"bottom": 1, "top": 10**6, "log": is_log}), DURATIONS))
    for took, (y, back, _) in zip(DURATIONS, drawn, strict=True):
        assert abs(1000 + 10 - y - scale.row(took, 1000)) <= 1
        assert back == pytest.approx(took)
    assert drawn[0][2] == ([10**power for power in range(7)] if is_log else [0, 250_000, 500_000, 750_000, 10**6])


def test_a_rectangle_on_a_logarithmic_scale_lists_what_is_inside(browser, collector):
    tab = browser.tab(height=1600).open(f"{collector.url}/?last=15m&scale=log")
    tab.wait("document.documentElement.dataset.ready")
    x, y, width, height = box(tab, "document.querySelector('#scatter canvas')")
    middle = y + 10 + (height - 28) / 2  # a thousand of a million
    tab.drag((x + 1, y + 11), (x + width - 1, middle))
    tab.wait("location.pathname == '/traces' && document.documentElement.dataset.ready")
    names = tab.run("[...document.querySelectorAll('.traces a')].map((one) => one.textContent)")
    assert sorted(names) == ["shopn6000", "shopn70000", "shopn800000"]
    assert "scale=log" in tab.run("location.search")
    assert tab.problems == []


@pytest.mark.parametrize("length", [10**6, 47 * 10**6, 13 * 60 * 10**6, HOUR, 7 * HOUR, DAY, 7 * DAY, 400 * DAY])
@pytest.mark.parametrize("ahead", [0, HOUR, -HOUR * 7 // 2])
def test_times_below_the_plot_are_round(browser, collector, length, ahead):
    times = browser.tab().open(f"{collector.url}/graph").run(TIMES % (NOW, NOW + length, ahead))
    steps = {after - before for before, after in pairwise(times)}
    assert len(steps) <= 1 <= len(times) + 1
    assert len(times) <= 13
    for step in steps:
        assert step % 1_000_000 == 0
        assert all((at + ahead) % min(step, DAY) == 0 for at in times)
    assert all(NOW <= at < NOW + length for at in times)
