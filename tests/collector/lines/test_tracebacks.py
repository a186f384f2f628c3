"""Tracebacks in log lines: found in what Python prints, and shown folded, by the server as by the script."""

import json
import sys
import traceback

import pytest

from obskit.collector.lines.tracebacks import exception_of, pieces
from obskit.collector.server import CollectorServer
from tests.collector.conftest import client_of

from .test_logs_page import TRACE, line, post

CAUSE = "\n\nThe above exception was the direct cause of the following exception:\n\n"
DURING = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
LONG = "x" * 400
SPAN = {"traceId": TRACE, "id": "a1", "name": "get /", "timestamp": 1_769_868_000_000_000, "duration": 9}
SHOWN = """[...document.querySelectorAll('.entry')].map((entry) => [
    ...[...entry.querySelectorAll('.text, .exception')].map((one) => one.textContent),
    ...[...entry.querySelectorAll('.whole > pre, .whole > details')].map((one) => one.localName == 'pre'
        ? one.textContent : [one.open, one.firstElementChild.textContent, one.lastElementChild.textContent])])"""
EDGES = """(({ left, right }) => [left, right])(document.querySelector('.exception').getBoundingClientRect())"""


def printed(raises):
    try:
        raises()
    except Exception:
        return traceback.format_exc()


def handled():
    """Three tracebacks: a cause, what it led to, and what was raised while that was handled."""
    try:
        try:
            raise KeyError("tea")
        except KeyError as error:
            raise ValueError("two\n\nlines") from error
    except ValueError:
        raise OSError("while it was handled")  # noqa: B904


def together():
    raise ExceptionGroup("many", [ValueError("a"), KeyError("b")])  # noqa: F821


MESSAGES = {
    "none": "nothing",
    "lines": "two\nlines",
    "empty": "",
    "alone": printed(lambda: {}["tea"]),
    "after text": "failed\n\n" + printed(lambda: {}["tea"]),
    "handled": "failed\n" + printed(handled),
    "cut off": "failed\nTraceback (most recent call last):\n  File ...",
    "not one": "Traceback (most recent call last) is what Python prints",
    "long": f"{LONG}\nTraceback (most recent call last):\nKeyError: {LONG}\n{LONG}",
    **({"group": "failed\n" + printed(together)} if sys.version_info >= (3, 11) else {}),
}


def test_a_traceback_is_found_with_the_line_of_its_exception():
    text, block = pieces("failed\n" + printed(lambda: {}["tea"]))
    assert text == ("failed\n", "")
    assert block.text.startswith("Traceback (most recent call last):\n")
    assert block.exception == block.text.splitlines()[-1] == "KeyError: 'tea'"


@pytest.mark.parametrize("sentence", [CAUSE, DURING])
def test_chained_tracebacks_are_parted_by_what_python_says_between_them(sentence):
    one, other = (f"Traceback (most recent call last):\n  File\n    x = 1\n{name}: two\n\nlines" for name in "AB")
    found = pieces(f"failed\n{one}{sentence}{other}\n")
    assert [text for text, _ in found] == ["failed\n", one, sentence, f"{other}\n"]
    assert [exception for _, exception in found] == ["", "A: two", "", "B: two"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no groups")
def test_of_a_group_it_is_the_group_that_is_named():
    assert exception_of(MESSAGES["group"]) == "ExceptionGroup: many (2 sub-exceptions)"


@pytest.mark.parametrize("name", ["none", "lines", "empty", "cut off", "not one"])
def test_what_is_none_is_text(name):
    assert [piece for piece in pieces(MESSAGES[name]) if piece.exception] == []
    assert "".join(text for text, _ in pieces(MESSAGES[name])) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_nothing_of_a_message_is_lost_but_blank_lines(name):
    assert "".join(text for text, _ in pieces(MESSAGES[name])).split() == MESSAGES[name].split()


def test_a_row_shows_the_exception_and_folds_all_but_the_last_traceback(browser):
    with CollectorServer() as server:
        post(client_of(server), line(1, message=MESSAGES["handled"]))
        tab = browser.tab(script=False).open(f"{server.url}/logs")
        ((text, exception, *parts),) = tab.run(SHOWN)
    assert (text, exception) == ("failed", "OSError: while it was handled")
    folds = [part for part in parts if isinstance(part, list)]
    assert [(is_open, exception) for is_open, exception, _ in folds] == [
        (False, "KeyError: 'tea'"),
        (False, "ValueError: two"),
        (True, "OSError: while it was handled"),
    ]


def test_the_exception_is_visible_beside_the_longest_message_at_any_width(browser):
    with CollectorServer() as server:
        post(client_of(server), line(1, message=MESSAGES["long"]))
        for width in (390, 1440):
            tab = browser.tab(width).open(f"{server.url}/logs")
            left, right = tab.run(EDGES)
            assert 0 <= left < right - 100 < width - 100
            assert tab.overflow <= 0


def test_rows_of_the_script_are_those_of_the_server(browser):
    with CollectorServer() as server:
        client = client_of(server)
        tab = browser.tab().open(f"{server.url}/logs?follow=1")
        post(client, *(line(number, message=text) for number, text in enumerate(MESSAGES.values())))
        tab.wait(f"document.querySelectorAll('.entry').length == {len(MESSAGES)}")
        live = tab.run(SHOWN)
        again = tab.open(f"{server.url}/logs").run(SHOWN)
        assert sorted(live, key=json.dumps) == sorted(again, key=json.dumps)
        assert tab.problems == []


def test_all_of_a_row_of_the_script_is_what_the_server_writes(browser):
    fields = {"cart": 7, "who": {"name": "a b", "ids": [1, 2], "none": None, "yes": True}, "-x": '"', "ä": "ö&=?#"}
    with CollectorServer() as server:
        client = client_of(server)
        client.post([{**SPAN, "localEndpoint": {"serviceName": "shop"}}])
        post(client, line(0))
        tab = browser.tab().open(f"{server.url}/logs?follow=1")
        post(client, line(1, trace=TRACE, spanId="00000000000000a1", logger="a.b", severity="ERROR", **fields))
        tab.wait("document.querySelectorAll('.entry').length == 2")
        html = "document.querySelector('.entry').innerHTML.replaceAll(/[\\n]+/g, '')"
        live = tab.run(html)
        assert tab.open(f"{server.url}/logs").run(html) == live


def test_below_a_trace_they_are_the_same_also_those_of_a_chosen_span(browser):
    with CollectorServer() as server:
        client = client_of(server)
        client.post([SPAN])
        post(client, line(1, message=MESSAGES["handled"], trace=TRACE, spanId="00000000000000a1"))
        page = f"{server.url}/traces/{TRACE}"
        tab = browser.tab().open(page)
        tab.wait("document.documentElement.dataset.ready")
        all_lines = tab.run(SHOWN)
        tab.open(f"{page}?span=00000000000000a1&log=below")
        tab.wait("document.documentElement.dataset.ready")
        tab.run("document.querySelector('[data-scope=\"\"]').click()")
        tab.wait("!location.search.includes('log') && !!document.querySelector('.entry')")
        assert tab.run(SHOWN) == all_lines
        assert all_lines[0][:2] == ["failed", "OSError: while it was handled"]


def test_keys_go_from_line_to_line_and_open_them(browser):
    with CollectorServer() as server:
        post(client_of(server), *(line(number) for number in range(3)))
        tab = browser.tab().open(f"{server.url}/logs")
        at = "[...document.querySelectorAll('.entry')].indexOf(document.activeElement.closest('.entry'))"
        for key, place in (("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)):
            tab.press(key)
            assert tab.run(at) == place
        tab.press("Enter")
        assert tab.run("document.querySelectorAll('.entry')[1].open")


def test_a_folded_traceback_does_not_stop_the_live_tail(browser):
    with CollectorServer() as server:
        client = client_of(server)
        post(client, line(1, message=MESSAGES["handled"]))
        tab = browser.tab().open(f"{server.url}/logs?follow=1")
        post(client, line(2))
        tab.wait("document.querySelectorAll('.entry').length == 2")
