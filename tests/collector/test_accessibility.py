"""axe-core, the rules of the Web Content Accessibility Guidelines as a program, finds nothing serious on any page."""

from __future__ import annotations

import pytest

from obskit.collector.server import CollectorServer
from tests.java import CACHE

from . import shop
from .test_clients import fetch

SERIOUS = """axe.run({ resultTypes: ["violations"], ...OPTIONS }).then(({ violations }) => violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => html + failureSummary).slice(0, 3)}`))"""
OF_COLOURS = '{ runOnly: ["color-contrast", "link-in-text-block"] }'
EMPTY = ("/", "/graph", "/traces", "/logs", "/profiles", "/incidents", "/kubernetes")


@pytest.fixture(scope="module")
def axe():
    """The source of axe-core."""
    folder = CACHE / "axe-core"
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fetch("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4")
    return source.read_text()


@pytest.fixture(scope="module")
def full():
    """The address of a collector with something on every page."""
    with CollectorServer() as server:
        shop.fill(server)
        yield server.url


def serious(tab, axe, options="{}"):
    tab.wait(shop.SETTLED)
    tab.run(f"if (!window.axe) {{ {axe} }} 0")
    return tab.run(SERIOUS.replace("OPTIONS", options))


def of_pages(browser, axe, url, pages):
    """What is found on the pages in light colours, and in dark ones what these change."""
    tab, found = browser.tab(), {}
    for path in pages:
        tab.prefer(dark=False)
        light = serious(tab.open(url + path), axe)
        tab.prefer(dark=True)
        found[path] = light + serious(tab, axe, OF_COLOURS)
    return {path: findings for path, findings in found.items() if findings}


def test_no_page_has_a_serious_finding(browser, axe, full):
    assert of_pages(browser, axe, full, shop.PAGES) == {}


def test_no_empty_page_has_a_serious_finding(browser, axe):
    with CollectorServer() as server:
        assert of_pages(browser, axe, server.url, EMPTY) == {}


def test_what_opens_on_a_page_has_no_serious_finding_either(browser, axe, full):
    """A line of the log and the list of keys, and a span's facts, on a narrow screen."""
    tab = browser.tab(width=390, height=844).open(f"{full}/logs?severity=error")
    tab.run("document.querySelector('#lines summary').click()")
    tab.press("?")
    assert serious(tab, axe) == []
    tab.open(f"{full}/traces/{shop.FAILING}").wait(shop.SETTLED)
    tab.press("e", "c")
    tab.wait("document.querySelector('#span').textContent.includes('KeyError')")
    assert serious(tab, axe) == []


def test_what_is_wrong_is_found(browser, axe, full):
    """A button without a name, and text as light as its ground where it is dark."""
    tab = browser.tab().open(f"{full}/kubernetes?pod=none")
    tab.run("document.body.append(document.createElement('button'), document.createElement('p'))")
    tab.run("document.body.lastChild.textContent = 'seen'; document.body.lastChild.style.color = '#1b2230'")
    assert [finding.partition(":")[0] for finding in serious(tab, axe)] == ["button-name"]
    tab.prefer(dark=True)
    assert [finding.partition(":")[0] for finding in serious(tab, axe, OF_COLOURS)] == ["color-contrast"]
