"""What was lost, as the pages say it, is what the ledgers of both sides count."""

import json
import re
import subprocess
import sys
from urllib.parse import urlencode

import pytest

from obskit.base.told_losses import LONGEST
from obskit.collector.intake.grpc_service import GrpcIntake
from obskit.collector.intake.kafka_consumer import KafkaIntake
from obskit.collector.options import Options
from obskit.collector.server import CollectorServer
from obskit.collector.told_losses import ToldLosses
from obskit.export.delivery.collector_report import CollectorReport
from obskit.export.delivery.ledger import Ledger
from tests.collector.conftest import client_of
from tests.export.grpc_receiver import grpc_receiver
from tests.export.receiver import FORK, ROOT, clean_environ, eventually, receiver

PROGRAM = """
import json, sys
import obskit
obskit.init(service="Shop", queue_size=100, logs="off", profiler="off", **json.loads(sys.argv[1]))
for burst in (3000, 80, 80, 80):
    for number in range(burst):
        with obskit.span(f"work {number % 7}"):
            pass
    obskit.flush(30)
(exporter,) = obskit.stats()["exporters"]
print(json.dumps(exporter, default=str))
"""
REASONS = re.compile(r"([\d,]+) (.*?)(?:, (?=\d)|$)").findall
STORED = re.compile(r"([\d,]+) spans? stored.*?; (?:([\d,]+) older spans? made room|none had to make room)", re.DOTALL)
LINES = re.compile(r"([\d,]+) lines? stored since.*?; ([\d,]+) older ones were deleted", re.DOTALL)
LOST = re.compile(r"Refused since the start: (?:([\d,]+) messages?)?(?: and )?(?:([\d,]+) spans?)?;")


def shown(pattern, page):
    found = pattern.search(page)
    return [int((number or "0").replace(",", "")) for number in found.groups()] if found else None


@pytest.fixture
def small():
    with CollectorServer(max_spans=150) as server:
        yield server


def run(program, **options):
    """Return the ledger of an application's spans."""
    command = [sys.executable, "-W", FORK, "-c", program, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=clean_environ())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def told(page):
    """Return what the page says that each service lost, by what and why."""
    (note,) = re.findall(r'<p class="note" id="told">(.*?)</p>', page, re.DOTALL) or [""]
    found = {}
    for entry in re.sub(r"<[^>]+>", "", note).partition(":")[2].split(";")[:-1]:
        service, _, rest = entry.strip().partition(" ")
        for number, items, reasons in re.findall(r"([\d,]+) (span|log line)s? \((.*?)\)", rest):
            by_reason = {reason: int(each.replace(",", "")) for each, reason in REASONS(reasons)}
            assert sum(by_reason.values()) == int(number.replace(",", ""))
            found.setdefault(service, {})[items] = by_reason
    return found


def by_reason(ledger):
    return {reason.replace("_", " "): number for reason, number in ledger["dropped"].items()}


def test_what_an_application_delivered_is_stored_or_made_room_and_all_else_its_ledger_tells(small):
    ledger = run(PROGRAM, exporter=f"{small.url}/api/v2/spans")
    assert ledger["dropped"]["queue_full"] > 0
    lost = sum(ledger["dropped"].values())
    assert ledger["produced"] == 3240 == ledger["delivered"] + lost + ledger["spooled"] + ledger["queued"]
    page = client_of(small).get("/?last=all").text
    assert told(page) == {"shop": {"span": by_reason(ledger)}}
    stored, gone = shown(STORED, page)
    assert stored + gone == ledger["delivered"]
    assert gone > 0
    assert shown(LOST, page) == ([0, lost - ledger["dropped"]["queue_full"]] if "Refused since" in page else None)


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
        assert "Refused since" not in client.get("/").text


AT_ONCE = """
import json, logging, sys
import obskit
obskit.init(service="Shop", batch_size=500, flush_interval=60, profiler="off", **json.loads(sys.argv[1]))
for number in range(130):
    with obskit.span("work"):
        logging.getLogger("shop").warning("line %d", number)
obskit.flush(30)
(exporter,) = obskit.stats()["exporters"]
print(json.dumps(exporter, default=str))
"""


def test_a_known_collector_is_told_with_the_first_message_of_spans_and_of_lines():
    with CollectorServer() as server:
        ledger = run(AT_ONCE, collector=server.url, queue_size=100, logs="json")
        page, metrics = (client_of(server).get(path).text for path in ("/", "/prometheus"))
    assert ledger["dropped"] == {"queue_full": 30}
    for items in ("spans", "log lines"):
        assert f'obskit_told_losses_total{{service="shop",items="{items}",reason="queue_full"}} 30\n' in metrics
    assert told(page) == {"shop": {"span": {"queue full": 30}, "log line": {"queue full": 30}}}


def test_the_processes_of_a_service_are_added_up_and_each_counts_once():
    with CollectorServer() as server:
        for size in (100, 90):
            run(AT_ONCE, collector=server.url, queue_size=size, logs="off")
        assert told(client_of(server).get("/").text) == {"shop": {"span": {"queue full": 70}}}


def test_over_grpc_a_collector_is_told_in_the_metadata():
    intake = GrpcIntake("127.0.0.1", 0)
    with CollectorServer(intakes=[intake]) as server:
        ledger = run(PROGRAM, exporter=f"grpc://127.0.0.1:{intake.port}")
        assert ledger["dropped"]["queue_full"] > 0
        assert told(client_of(server).get("/").text) == {"shop": {"span": by_reason(ledger)}}


def test_another_grpc_server_is_told_nothing():
    with grpc_receiver() as other:
        ledger = run(PROGRAM, exporter=f"grpc://{other.address}")
    assert ledger["dropped"]["queue_full"] > 0
    assert len(other.metadata) > 1
    assert not any("obskit-losses" in metadata for metadata in other.metadata)


def test_over_kafka_a_collector_is_told_in_the_headers(broker, topic):
    with CollectorServer(intakes=[KafkaIntake(broker.address, topic, {"group.id": topic})]) as server:
        ledger = run(PROGRAM, exporter=f"kafka://{broker.address}/{topic}")
        assert ledger["dropped"]["queue_full"] > 0
        eventually(lambda: told(client_of(server).get("/").text), 30)
        assert told(client_of(server).get("/").text) == {"shop": {"span": by_reason(ledger)}}


def test_a_word_that_was_overtaken_takes_nothing_back():
    losses = ToldLosses()
    for number in ("3", "7", "5"):
        losses.note(urlencode({**WORD, "queue_full": number}))
    assert losses.by_service() == {"shop": {("spans", "queue_full"): 7}}


def test_a_service_with_an_endless_name_is_not_told_rather_than_refused_by_servers():
    for name, is_told in (("x" * 100, True), ("x" * LONGEST, False)):
        report = CollectorReport(name, "spans", known=True)
        report.ledger = Ledger([])
        report.ledger.lose("queue_full", 1)
        assert bool(report.headers()) == is_told


def test_another_server_is_told_nothing():
    with receiver() as other:
        ledger = run(PROGRAM, exporter=other.url)
        assert ledger["dropped"]["queue_full"] > 0
    assert len(other.heads) > 1
    assert "obskit-losses" not in "".join(other.heads).lower()


WORD = {"ledger": "0123456789abcdef", "service": "Shop", "items": "spans", "queue_full": "7"}


@pytest.mark.parametrize(
    "header",
    [
        "x",
        urlencode({**WORD, "ledger": "x"}),
        urlencode({**WORD, "service": ""}),
        urlencode({**WORD, "items": "<b>"}),
        urlencode({**WORD, "queue_full": "-1"}),
        urlencode({**WORD, "queue_full": "1e9"}),
        urlencode({**WORD, "Queue": "1"}),
        urlencode({**WORD, "service": "x" * 3_000}),
        urlencode({**WORD, **{f"reason_{n}": "1" for n in range(50)}}),
    ],
)
def test_a_header_that_is_malformed_says_nothing(small, header):
    client = client_of(small)
    assert client.post([], obskit_losses=header).status == 202
    assert told(client.get("/").text) == {}


def test_a_word_of_each_queue_counts_once_and_of_very_many_none_is_forgotten(monkeypatch):
    monkeypatch.setattr("obskit.collector.told_losses._MOST_QUEUES", 10)
    monkeypatch.setattr("obskit.collector.told_losses._MOST_SERVICES", 3)
    losses = ToldLosses()
    for ledger in range(40):
        for number in (1, 5):
            word = {**WORD, "ledger": f"{ledger:016x}", "service": f"s{ledger % 4}", "queue_full": number}
            losses.note(urlencode(word))
    found = losses.by_service()
    assert sorted(found) == ["other services", "s0", "s1", "s2"]
    assert sum(its["spans", "queue_full"] for its in found.values()) == 40 * 5


def test_what_is_told_is_escaped(small):
    client_of(small).post([], obskit_losses=urlencode({**WORD, "service": "<b>&"}))
    page = client_of(small).get("/").text
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
