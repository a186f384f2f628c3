"""What was lost, as the pages say it, is what the ledgers of both sides count."""

import json
import re
import subprocess
import sys

import pytest

from obskit.collector.options import Options
from obskit.collector.server import CollectorServer
from tests.collector.conftest import client_of
from tests.export.receiver import FORK, ROOT, clean_environ

PROGRAM = """
import json, sys
import obskit
obskit.init(service="shop", exporter=sys.argv[1] + "/api/v2/spans", queue_size=100, logs="off", profiler="off")
for burst in (3000, 80, 80, 80):
    for number in range(burst):
        with obskit.span(f"work {number % 7}"):
            pass
    obskit.flush(30)
(exporter,) = obskit.stats()["exporters"]
print(json.dumps(exporter, default=str))
"""
STORED = re.compile(r"([\d,]+) spans? stored.*?; (?:([\d,]+) older spans? made room|none had to make room)", re.DOTALL)
LINES = re.compile(r"([\d,]+) lines? stored since.*?; ([\d,]+) older ones were deleted", re.DOTALL)
LOST = re.compile(r"Since the start (?:([\d,]+) messages?)?(?: and )?(?:([\d,]+) spans?)? were refused")


def shown(pattern, page):
    found = pattern.search(page)
    return [int((number or "0").replace(",", "")) for number in found.groups()] if found else None


@pytest.fixture
def small():
    with CollectorServer(max_spans=150) as server:
        yield server


def test_what_an_application_delivered_is_stored_or_made_room_and_all_else_its_ledger_tells(small):
    command = [sys.executable, "-W", FORK, "-c", PROGRAM, small.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=clean_environ())
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)
    assert ledger["dropped"]["queue_full"] > 0
    lost = sum(ledger["dropped"].values())
    assert ledger["produced"] == 3240 == ledger["delivered"] + lost + ledger["spooled"] + ledger["queued"]
    page = client_of(small).get("/?last=all").text
    stored, gone = shown(STORED, page)
    assert stored + gone == ledger["delivered"]
    assert gone > 0
    assert shown(LOST, page) == ([0, lost - ledger["dropped"]["queue_full"]] if "were refused" in page else None)


def test_what_the_collector_refuses_is_on_its_page_as_in_its_metrics(small):
    client = client_of(small)
    assert client.post(b"[{]").status == 400
    assert client.post(b"x" * (11 * 1024 * 1024)).status == 413
    one = {"traceId": "1", "timestamp": 1_700_000_000_000_000, "localEndpoint": {"serviceName": "shop"}}
    refused = client.post([{**one, "id": f"{number + 1:x}"} for number in range(160)])  # more than it may hold at all
    assert refused.status == 413
    metrics = client.get("/metrics").json
    names = ("messages_dropped", "spans_dropped")
    counted = [metrics[f"counter.zipkin_collector.{name}.http"] for name in names]
    assert shown(LOST, client.get("/").text) == counted
    assert (counted[0] >= 2, counted[1]) == (True, 160)


def test_lines_that_made_room_are_on_their_page_as_in_the_metrics():
    with CollectorServer(options=Options(max_line_bytes=20_000)) as server:
        client = client_of(server)
        for number in range(60):
            body = "\n".join(f"line {number} {place} {'x' * (place % 50)}" for place in range(60))
            client.post(body.encode(), "/api/obskit/v1/lines?service=shop", content_type="application/x-ndjson")
        page = client.get("/logs").text
        stored, gone = shown(LINES, page)
        counted = re.search(r"^obskit_lines_dropped_total (\d+)$", client.get("/prometheus").text, re.MULTILINE)
        assert gone == int(counted[1]) > 0
        assert stored + gone == 3600
        assert "were refused" not in client.get("/").text
