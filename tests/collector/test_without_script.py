"""The pages in a browser that runs no script: nothing is missing, tables and pictures are there, forms work."""

from __future__ import annotations

import json

import pytest

from obskit.collector.server import CollectorServer

from . import shop

# What a page shows, by its address: a part of the page and how many of them there are at least.
SHOWN = {
    "/": {".health tbody tr": 3, ".over svg": 3, "#scatter svg path": 1},
    "/services/orders": {".chart svg": 3, ".operations tbody tr": 1, "#scatter svg path": 1},
    "/graph": {".graph .node": 3, ".graph .edge": 2, "table tbody tr": 2},
    "/traces": {".traces tbody tr": 50, "#scatter svg path": 1},
    f"/traces/{shop.SLOW}": {"#rows .row": 3, ".logs .entry": 1, ".flame rect": 4, ".tables tbody tr": 2},
    f"/traces/{shop.SLOW}?view=flame": {".flame rect": 5, ".spent tbody tr": 4, ".logs .entry": 1},
    "/logs": {"#lines .entry": 200, ".histogram rect": 10},
    "/profiles?service=orders": {".flame rect": 4, ".tables tbody tr": 2},
    "/incidents": {".lanes svg": 2, "table tbody tr": 2},
    "/kubernetes": {".kube summary": 5, "table tbody tr": 1},
}


@pytest.fixture(scope="module")
def url():
    with CollectorServer() as server:
        shop.fill(server)
        yield server.url


@pytest.fixture(scope="module")
def tab(browser):
    return browser.tab(390, 844, script=False)


@pytest.mark.parametrize("path", SHOWN)
def test_a_page_is_complete_without_script(tab, url, path):
    tab.open(url + path)
    found = {part: count(tab, part) for part in SHOWN[path]}
    assert {part: found[part] >= least for part, least in SHOWN[path].items()} == dict.fromkeys(found, True), found
    assert visible(tab, "button:not(form button), canvas") == []  # nothing is offered that only a script could do


@pytest.mark.parametrize("path", shop.PAGES)
def test_a_page_without_script_never_scrolls_sideways_on_a_phone(tab, url, path):
    assert tab.open(url + path).overflow <= 0
    assert tab.clipped == []


def test_the_form_of_requests_lists_what_was_asked(tab, url):
    tab.open(f"{url}/traces")
    fill_in(tab, "main form", {"service": "front", "min": "800ms"})
    tab.wait("location.search.includes('min=800ms') && document.readyState == 'complete'")
    assert tab.run("[...document.querySelectorAll('.traces a')].map((a) => a.pathname)") == [
        f"/traces/{shop.SLOW:0>16}"
    ]
    assert tab.run("document.querySelector('main form [name=service]').value") == "front"


def test_the_form_of_lines_lists_what_was_asked(tab, url):
    tab.open(f"{url}/logs")
    fill_in(tab, "main form", {"q": "plates", "severity": "critical"})
    tab.wait("location.search.includes('q=plates') && document.readyState == 'complete'")
    assert count(tab, "#lines .entry") == 1
    tab.run("document.querySelector('#lines summary').click()")
    assert "out of plates" in tab.run("document.querySelector('#lines details[open] pre').innerText")


def test_the_box_on_every_page_leads_to_a_trace(tab, url):
    tab.open(f"{url}/kubernetes")
    fill_in(tab, ".find", {"q": shop.FAILING.zfill(8).upper()})
    tab.wait(f"location.pathname == '/traces/{shop.FAILING:0>16}' && document.readyState == 'complete'")


def test_a_long_trace_goes_on_on_the_next_page(tab, url):
    tab.open(f"{url}/traces/{shop.LONG}")
    assert count(tab, "#rows .row") == 200
    tab.run("document.querySelector('.rest a').click()")
    tab.wait("location.search != '' && document.readyState == 'complete'")
    assert 0 < count(tab, "#rows .row") <= 200


def count(tab, part):
    return tab.run(f"document.querySelectorAll({json.dumps(part)}).length")


def visible(tab, part):
    found = f"[...document.querySelectorAll({json.dumps(part)})].filter((one) => one.checkVisibility())"
    return tab.run(f"{found}.map((one) => one.outerHTML)")


def fill_in(tab, form, values):
    """Fill in a form and send it."""
    for name, value in values.items():
        tab.run(f"document.querySelector({form!r}).elements[{name!r}].value = {value!r}")
    tab.run(f"document.querySelector({form!r}).requestSubmit()")
