"""``obskit.init(collector=...)``: what the console shows is in a real collector too, and the console is as before."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from obskit.collector.server import CollectorServer
from obskit.runtime.parts import exports
from obskit.settings import load
from tests.collector.conftest import client_of
from tests.export.receiver import FORK, ROOT, clean_environ, receiver, reply

LINES = "/api/obskit/v1/lines"
PROGRAM = """
import logging, sys
import obskit
if sys.argv[1]: obskit.init(collector=sys.argv[1], service="shop", logs=sys.argv[2])
{body}
"""
LOGGING = """
logging.getLogger("shop.orders").warning("no %s", "stock", extra={"cart": 7})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("shop").exception("failed")
with obskit.span("work"):
    logging.getLogger("shop").error("in a trace")
"""


@pytest.fixture
def collector():
    with CollectorServer() as server:
        yield server


def run(body, url, mode="json", *, status=0):
    program = PROGRAM.replace("{body}", body)
    command = [sys.executable, "-W", FORK, "-c", program, url, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=clean_environ())
    assert done.returncode == status, done.stderr
    return done


def stored(server, query=""):
    return client_of(server).get(f"{LINES}?{query}").json["lines"]


def test_json_lines_are_shipped_as_they_are_printed(collector):
    printed = [json.loads(line) for line in run(LOGGING, collector.url).stdout.splitlines()]
    found = stored(collector)
    assert [line["message"].splitlines()[0] for line in found] == ["no stock", "failed", "in a trace"]
    assert [line["key"] for line in found] == [line["logging.googleapis.com/insertId"] for line in printed]
    assert found[1]["message"].endswith("ZeroDivisionError: division by zero")
    assert found[0]["fields"]["cart"] == 7
    assert {line["service"] for line in found} == {"shop"}
    assert len({line["instance"] for line in found}) == 1
    (trace,) = client_of(collector).get("/api/v2/traces").json
    assert found[2]["trace"] == trace[0]["traceId"]
    assert found[2]["span"] == trace[0]["id"]


def test_lines_for_people_are_shipped_with_all_their_fields(collector):
    printed = run(LOGGING, collector.url, "console").stdout
    assert "no stock" in printed
    assert '"cart"' not in printed
    found = stored(collector)
    assert [line["severity"] for line in found] == ["WARNING", "ERROR", "ERROR"]
    assert found[0]["fields"]["cart"] == 7
    assert found[2]["trace"]


def test_a_handler_of_the_applications_ships_each_line_once(collector):
    body = """
logging.basicConfig(stream=sys.stdout)
alone = logging.getLogger("alone")
alone.propagate = False
alone.addHandler(logging.StreamHandler(sys.stdout))
alone.addHandler(logging.StreamHandler(sys.stderr))
alone.warning("one")
logging.warning("two")
"""
    run(body, collector.url)
    assert [line["message"] for line in stored(collector)] == ["one", "two"]


def test_inherited_logging_prints_what_it_did_before(collector):
    body = """
logging.warning("by the last resort")
logging.basicConfig(format="%(funcName)s %(lineno)d %(message)s")
alone = logging.getLogger("alone")
alone.propagate = False
alone.warning("seen by nobody")
logging.warning("by its caller")
"""
    before, after = run(body, ""), run(body, collector.url, "inherit")
    assert (before.stdout, before.stderr) == (after.stdout, after.stderr)
    assert [line["message"] for line in stored(collector)] == [
        "by the last resort",
        "seen by nobody",
        "by its caller",
    ]


def test_off_ships_nothing(collector):
    run("logging.warning('a')", collector.url, "off")
    assert stored(collector) == []


def test_secrets_are_masked(collector):
    run("logging.warning('a', extra={'password': 'hunter2'})", collector.url, "inherit")
    assert "hunter2" not in json.dumps(stored(collector))


def test_children_ship_their_own_lines(collector):
    body = """
import os
logging.warning("parent")
if os.fork() == 0:
    logging.warning("child")
    obskit.shutdown()
    os._exit(0)
os.wait()
logging.warning("parent again")
"""
    run(body, collector.url)
    found = {line["message"]: line["instance"] for line in stored(collector)}
    assert found.keys() == {"parent", "child", "parent again"}
    assert found["parent"] == found["parent again"] != found["child"]


def test_a_collector_that_is_not_there_changes_nothing_and_is_counted():
    body = """
for number in range(20): logging.info("line %d", number)
obskit.flush(0.2)
ledger = obskit.stats()["logs"]["collector"]
print("ledger", ledger["produced"] == ledger["delivered"] + ledger["queued"] + sum(ledger["dropped"].values()))
sys.exit(3)
"""
    began = time.monotonic()
    done = run(body, "http://127.0.0.1:9", status=3)
    assert time.monotonic() - began < 30
    assert "ledger True" in done.stdout
    assert sum('"message":"line ' in line for line in done.stdout.splitlines()) == 20


def test_what_finds_no_room_is_dropped_and_counted_at_once():
    body = """
obskit.init(queue_size=50, exit_timeout=0.2, exporter="none")
for number in range(1000): logging.info("line %d", number)
ledger = obskit.stats()["logs"]["collector"]
print("ledger", ledger["dropped"]["queue_full"] >= 900, ledger["produced"])
"""
    with receiver() as server:
        server.answers = [server.hang] * 10
        done = run(body, server.url.partition("/api")[0])
    assert "ledger True 100" in done.stdout


def test_a_collector_that_fails_for_a_while_gets_each_line_once(collector):
    """An answer that is lost makes the same lines come again."""
    body = """
obskit.init(exporter="none")
for number in range(100): logging.info("line %d", number)
obskit.flush(20)
"""
    with receiver(reply(503), reply(200)) as server:
        run(body, server.url.partition("/api")[0])
        bodies = list(server.bodies)
    assert len(bodies) >= 2
    for sent in bodies:
        client_of(collector).post(sent, f"{LINES}?service=shop")
    assert len(stored(collector, "limit=1000&q=line+-obskit")) == 100


def test_reconfigured_it_ships_elsewhere_or_no_more(collector):
    with CollectorServer() as other:
        body = f"""
logging.warning("one")
obskit.init(collector={other.url!r})
logging.warning("two")
obskit.shutdown()
logging.warning("three")
"""
        run(body, collector.url)
        assert stored(collector)[0]["message"] == "one"
        assert "two" in [line["message"] for line in stored(other)]
        assert "three" not in [line["message"] for line in stored(other)]


@pytest.mark.parametrize(
    ("exporter", "expected"),
    [
        (None, ["http://c:9411/api/v2/spans"]),
        ("console", ["http://c:9411/api/v2/spans", "console"]),
        ("http://c:9411", ["http://c:9411/api/v2/spans"]),
        ("none", []),
    ],
)
def test_spans_go_to_the_collector_and_to_exporters_that_are_given(exporter, expected):
    given = {"exporter": exporter} if exporter else {}
    found = exports(load({"collector": "http://c:9411", **given}, {}))
    assert [export.build().destination for export in found] == expected
