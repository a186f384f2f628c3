"""Requests that are still running are shown as their processes said, until they are over."""

import json
import os
import subprocess
import sys
from urllib.parse import urlencode

import pytest

from obskit.base.told_losses import LONGEST, TAKES
from obskit.collector import told_running
from obskit.collector.server import CollectorServer
from obskit.collector.told_running import ToldRunning
from tests.collector.conftest import client_of
from tests.collector.shop import SETTLED
from tests.export.receiver import FORK, ROOT, clean_environ, receiver

TRACE = "5b8efff798038103d269b633813fc60c"
WORD = {"service": "Shop", "instance": "pod:7", "number": "3", "oldest": f"90000-{TRACE} 20-{'a' * 32}"}
LISTED = 'href="/traces/{}">what is known so far'

PROGRAM = """
import json, os, sys, threading, urllib.request
import obskit
options = json.loads(sys.argv[1])
asked = options.pop("asked")
obskit.init(service="Slow", profiler="off", **options)
begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

def application(environ, start_response):
    begun.set()
    go_on.wait(60)
    start_response("200 OK", [])
    return [b""]

served = obskit.integrations.wsgi.ObskitMiddleware(application)
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "a", "SERVER_PORT": "80"}
environ["wsgi.url_scheme"] = "http"

def serve():
    body = served(environ, lambda *_: None)
    list(body)
    getattr(body, "close", str)()
    ended.set()

def read():
    with urllib.request.urlopen(asked) as answer:
        return answer.read().decode()

def say():
    with obskit.span("work"):
        pass
    obskit.flush(30)

say()
threading.Thread(target=serve, daemon=True).start()
assert begun.wait(60)
say()
found = [read()]
if options.get("logs") != "json" and hasattr(os, "fork"):
    child = os.fork()
    if not child:
        from obskit.base import told_running
        os._exit("-" in told_running.encode("slow").partition("oldest=")[2])
    found.append(os.waitpid(child, 0)[1])
go_on.set()
assert ended.wait(60)
obskit.flush(30)
found.append(read())
print(json.dumps(found))
"""


ENDS = 'with obskit.span("last"):\n    pass\nprint(json.dumps(read()))\n'


def run(ends=False, **options):
    program = PROGRAM.partition("found = [read()]")[0] + ENDS if ends else PROGRAM
    code = program.replace("import obskit\n", "import obskit, obskit.integrations.wsgi\n", 1)
    command = [sys.executable, "-W", FORK, "-c", code, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=clean_environ())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork")
def test_a_request_is_listed_from_the_next_message_on_until_it_is_over_and_is_no_childs():
    with CollectorServer() as server:
        during, childs, after = run(exporter=f"{server.url}/api/v2/spans", logs="off", asked=f"{server.url}/")
    assert during.count(LISTED.split("{}")[1]) == 1
    assert childs == 0
    assert "Running now" not in after


def test_a_process_that_ends_takes_its_requests_back_with_its_last_message():
    with CollectorServer() as server:
        before = run(ends=True, exporter=f"{server.url}/api/v2/spans", logs="off", asked=f"{server.url}/")
        assert "Running now" in before
        assert "Running now" not in client_of(server).get("/").text


def test_lines_tell_as_spans_do():
    with CollectorServer() as server:
        during, after = run(collector=server.url, logs="json", asked=f"{server.url}/services/slow")
    assert during.count(LISTED.split("{}")[1]) == 1
    assert "Running now" not in after


def test_another_server_is_told_nothing():
    with receiver() as other, CollectorServer() as server:
        run(exporter=other.url, logs="off", asked=f"{server.url}/")
    assert len(other.heads) > 1
    assert "obskit-running" not in "".join(other.heads).lower()


def test_a_collector_says_that_it_takes_it(client):
    assert "running" in client.post([]).headers[TAKES]


def post(client, **word):
    assert client.post([], obskit_running=urlencode({**WORD, **word})).status == 202


def test_a_trace_says_that_it_goes_on(client):
    post(client)
    page = client.get(f"/traces/{TRACE}")
    assert (page.status, "is still running" in page.text) == (200, True)
    client.post([{"traceId": TRACE, "id": "1", "parentId": "2", "timestamp": 1}])
    assert "is still running" in client.get(f"/traces/{TRACE}").text


def test_the_oldest_come_first_and_how_many_more_there_are_is_said(client):
    post(client)
    post(client, instance="pod:8", number="1", oldest=f"40000-{'b' * 32}")
    page = client.get("/").text
    places = [page.index(LISTED.format(trace)) for trace in (TRACE, "b" * 32, "a" * 32)]
    assert places == sorted(places)
    assert "4 requests, the 3 oldest of which are listed" in page
    assert "Running now" not in client.get("/services/other").text
    post(client, number="0", oldest="")
    assert LISTED.format(TRACE) not in client.get("/").text


@pytest.mark.parametrize(
    "word",
    [
        {"service": ""},
        {"instance": ""},
        {"number": "x"},
        {"number": "-1"},
        {"oldest": "x"},
        {"oldest": f"-1-{TRACE}"},
        {"oldest": f"1-{TRACE}x"},
        {"oldest": f"1-{'a' * 16} " * 21},
        {"instance": "x" * LONGEST},
    ],
)
def test_a_word_that_is_malformed_says_nothing(client, word):
    post(client, **word)
    assert "Running now" not in client.get("/").text


def test_what_is_told_is_escaped(client):
    post(client, service="<b>", instance="<i>")
    assert not {"<b>", "<i>"} & set(client.get("/").text.split())
    assert "&lt;b&gt;" in client.get("/").text


def test_of_very_many_processes_the_last_ones_are_kept_and_old_words_are_forgotten(monkeypatch):
    monkeypatch.setattr(told_running, "_MOST_PROCESSES", 10)
    told = ToldRunning()
    for number in range(40):
        told.note(urlencode({**WORD, "instance": f"pod:{number}"}))
    assert {request.instance for request in told.oldest()} == {f"pod:{number}" for number in range(30, 40)}
    monkeypatch.setattr(told_running, "FORGOTTEN", -1)
    assert (told.oldest(), told.number()) == ([], 0)


def test_in_the_plot_it_is_a_ring_that_leads_to_its_trace(browser):
    with CollectorServer() as server:
        client = client_of(server)
        client.post([{"traceId": "1", "id": "1", "timestamp": 1, "localEndpoint": {"serviceName": "shop"}}])
        post(client, number="1", oldest=f"90000-{TRACE}")
        asked = client.get("/api/obskit/v1/requests?service=shop").json["running"]
        assert [(age >= 90_000_000, trace) for age, trace in asked] == [(True, TRACE)]
        for others in ("service=other", "errors=1", "min=1ms", "to=2026-01-01", "name=get"):
            assert client.get(f"/api/obskit/v1/requests?{others}").json["running"] == []
        tab = browser.tab(height=1600).open(f"{server.url}/?last=1h")
        tab.wait(SETTLED)
        box = "document.querySelector('#scatter canvas').getBoundingClientRect()"
        right, top = tab.run(f"(({{ right, top }}) => [right, top])({box})")
        tab.click((right - 7, top + 5))
        tab.wait(f"location.pathname == '/traces/{TRACE}'")
        assert tab.problems == []
