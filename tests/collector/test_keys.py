"""Keys are one list: what a page's ``?`` shows, what its scripts do, and the table of the documentation."""

import re
from pathlib import Path

import pytest

from obskit.collector.pages.frame import PAGES
from obskit.collector.server import CollectorServer

from . import shop

DOCS = Path(__file__).parents[2] / "docs" / "collector-pages.md"
SIGNS = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
DOTS, FLAME = "requests as dots, once they have the focus", "flame graph, once it has the focus"
SHOWN = {
    "/": {"every page", DOTS},
    "/traces": {"every page", DOTS},
    "/services/orders": {"every page", DOTS},
    "/logs": {"every page", "log lines"},
    f"/traces/{shop.SLOW}": {"every page", "waterfall", FLAME},
    f"/traces/{shop.SLOW}?view=flame": {"every page", FLAME},
    "/profiles?service=orders": {"every page", FLAME},
    "/graph": {"every page"},
}
LISTED = "import('/static/key_list.js').then(({ KEYS }) => KEYS)"
ROWS = """[...document.querySelectorAll('dialog table')].flatMap((table) => [...table.rows].map((row) =>
    [table.caption.textContent, row.cells[0].innerText.trim(), row.cells[1].textContent]))"""


@pytest.fixture(scope="module")
def url():
    with CollectorServer() as server:
        shop.fill(server)
        yield server.url


@pytest.fixture(scope="module")
def documented():
    rows = re.findall(r"^\| (.+) \| (`.+`) \| (.+) \|$", DOCS.read_text().partition("\n## Keys\n")[2], re.MULTILINE)
    return [[where, " ".join(re.findall(r"`([^`]+)`", keys)), what] for where, keys, what in rows]


@pytest.mark.parametrize("path", SHOWN)
def test_a_page_lists_the_documented_keys_of_what_is_on_it(browser, url, documented, path):
    """A script that leaves out a listed key, or has another, fails when it registers its keys."""
    tab = browser.tab().open(url + path)
    tab.wait(shop.SETTLED)
    tab.press("?")
    tab.wait("!!document.querySelector('dialog')")
    assert sorted(tab.run(ROWS)) == sorted(row for row in documented if row[0] in SHOWN[path])
    assert tab.problems == []


def test_the_list_is_the_documented_table(browser, url, documented):
    listed = browser.tab().open(url).run(LISTED)
    assert [[where, " ".join(SIGNS.get(key, key) for key in keys), what] for where, keys, what in listed] == documented


def test_a_key_that_is_not_listed_is_refused(browser, url):
    tab = browser.tab().open(url)
    missing = "import('/static/keys.js').then(({ onKeys }) => onKeys('log lines', {})).catch(({ message }) => message)"
    assert tab.run(missing) == "keys of log lines: , listed: j,k,p"


def test_every_page_has_its_letter_in_the_list(documented):
    text = next(what for _, key, what in documented if key == "g")
    assert sorted(re.findall(r"\b([a-z]) ([A-Z]\w+)", text)) == sorted((key, name) for _, name, key in PAGES)
