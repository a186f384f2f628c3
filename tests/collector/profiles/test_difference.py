"""Profiles compared with those of an earlier time or of another version."""

import re
from collections import Counter

import pytest

from obskit.collector.profiles.difference import changes
from obskit.collector.profiles.flame import Choice, added, fold
from obskit.collector.profiles.stacks import of_samples

from .test_profiles import LOADS, MAIN, NOW, PARSE, WORK, frames, ingest, pprof, sample

DAY = 86_400_000_000
OLD = [sample([MAIN, WORK, PARSE], 300_000_000), sample([MAIN, LOADS], 100_000_000)]  # 75 and 25 %
NEW = [sample([MAIN, WORK, PARSE], 900_000_000), sample([MAIN, WORK], 100_000_000)]  # 90 and 10 %
EXPECTED = [
    "all: 100.0 % before, 100.0 % now, 0.0 points",
    "main (/app/main.py:3): 100.0 % before, 100.0 % now, 0.0 points",
    "work (/app/work.py:5): 75.0 % before, 100.0 % now, ▲25.0 points",
    "loads (/usr/lib/python3.13/json/__init__.py:9): 25.0 % before, 0.0 % now, ▼25.0 points, gone",
    "parse (/app/parse.py:7): 75.0 % before, 90.0 % now, ▲15.0 points",
]
EXPECTED_KINDS = ["same", "same", "more much", "less much", "more much"]


def fill(client):
    ingest(client, pprof(OLD, begun=NOW - DAY - 600_000_000), "name=shop{service.version=1.4}&format=pprof")
    ingest(client, pprof(NEW, begun=NOW - 600_000_000), "name=shop{version=1.5}&format=pprof")


@pytest.mark.parametrize(
    "query",
    ["last=1h&base=1d", "base=1d", "version=1.5&base=version:1.4", f"from={(NOW - 10**9) // 1000}&base=1d"],
    ids=["last and base", "base alone", "two versions", "from and base"],
)
def test_a_time_or_version_is_compared_with_another(client, query):
    fill(client)
    page = client.get(f"/profiles?{query}")
    assert frames(page) == EXPECTED
    assert re.findall(r'<rect class="([\w ]+)"', page.text) == [
        "same",
        "same",
        *["more much", "less much", "more much"],
    ]
    assert ">▼25.0 loads<" in page.text
    own = page.text.partition("Functions themselves")[2].partition("</table>")[0]
    assert re.findall(r">([^<]+)</a>.*?>([\d.]+ %)</td>.*?>([\d.]+ %)</td>.*?(▲|▼)([\d., \w]+)<", own, re.DOTALL) == [
        ("loads", "25.0 %", "0.0 %", "▼", "25.0, gone"),
        ("parse", "75.0 %", "90.0 %", "▲", "15.0"),
        ("work", "0.0 %", "10.0 %", "▲", "10.0, new"),
    ]


def test_a_box_is_as_wide_as_the_mean_and_never_wider_than_its_caller():
    old, new = (
        fold(added([of_samples([(stack, value, ()) for stack, value in samples])]), Choice())
        for samples in (
            [([("a", "", 1), ("b", "", 2)], 3), ([("a", "", 1)], 1)],
            [([("a", "", 1), ("c", "", 2)], 8), ([("d", "", 1)], 2)],
        )
    )
    top = changes(old, new)
    widths = {change.place[0]: change.width for change in [*top.children, *top.children[0].children]}
    assert widths == {"a": 90.0, "d": 10.0, "c": 40.0, "b": 37.5}


def test_what_cannot_be_compared_is_said(client):
    fill(client)
    assert client.get("/profiles?base=soon").status == 400
    assert "no sample before" in client.get("/profiles?base=version:9").text
    assert "no sample now" in client.get("/profiles?version=9&base=version:1.4").text
    assert "<b>" not in client.get("/profiles?base=version:%3Cb%3E&version=%3Cb%3E").text


def test_a_version_is_chosen_and_offered(client):
    fill(client)
    page = client.get("/profiles?version=1.4")
    assert Counter(re.findall(r'<option value="(?:version:)?(1\.\d)"', page.text)) == {"1.4": 2, "1.5": 2}
    assert "all: 400 ms" in page.text


@pytest.mark.parametrize("width", [390, 3840])
def test_the_difference_in_a_browser(browser, client, width):
    fill(client)
    tab = browser.tab(width, 800).open("http://{}:{}/profiles?base=1d".format(*client.address))
    assert tab.run("document.querySelectorAll('.flame rect').length") == 5
    assert tab.problems == []
    assert tab.overflow <= 0
