"""Lines over HTTP: in as JSON lines, text and OTLP, out by a search; limits, token and origin as for spans."""

import gzip
import json
import time
from urllib.parse import quote

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from obskit.collector.options import Options
from obskit.collector.server import CollectorServer
from tests.collector.conftest import Client, client_of

TRACE = "5b8efff798038103d269b633813fc60c"
LINES = "/api/obskit/v1/lines"
JSON = {"content_type": "application/json"}


def line(number, **fields):
    return {"message": f"line {number}", "time": f"2026-01-31T14:00:{number:02}Z", "severity": "INFO", **fields}


def post(client, *lines, path=f"{LINES}?service=shop&instance=pod-1", **headers):
    body = b"\n".join(json.dumps(item).encode() for item in lines)
    return client.post(body, path, **{"content_type": "application/x-ndjson", **headers})


def messages(client, query=""):
    answer = client.get(f"{LINES}?{query}")
    assert answer.status == 200, answer.text
    return [item["message"] for item in answer.json["lines"]]


def test_lines_come_back(client):
    assert post(client, line(2), line(1, extra={"a": 1}, trace=TRACE)).json == {"lines": 2, "new": 2}
    assert post(client, line(2)).json == {"lines": 1, "new": 0}
    answer = client.get(LINES).json
    assert answer["more"] is None
    assert answer["lines"][0] == {
        "id": 2,
        "time": "2026-01-31T14:00:01.000000Z",
        "severity": "INFO",
        "service": "shop",
        "instance": "pod-1",
        "message": "line 1",
        "trace": TRACE,
        "fields": {"extra": {"a": 1}},
    }


def test_gzip_and_text(client):
    body = gzip.compress(b"ERROR no stock\nplain\n")
    answer = client.post(body, f"{LINES}?service=shop", content_type="text/plain", content_encoding="gzip")
    assert answer.json == {"lines": 2, "new": 2}
    assert messages(client, "severity=error") == ["ERROR no stock"]


def test_searches_and_pages(client):
    post(client, *(line(number, severity="ERROR" if number % 10 == 0 else "INFO") for number in range(50)))
    assert messages(client, "severity=ERROR&limit=2") == ["line 30", "line 40"]
    more = client.get(f"{LINES}?limit=2&severity=ERROR").json["more"]
    assert messages(client, f"limit=2&severity=ERROR&before={more}") == ["line 10", "line 20"]
    assert messages(client, f"q={quote('line -4 7')}") == ["line 7", "line 17", "line 27", "line 37"]
    assert messages(client, "from=2026-01-31T14:00:48Z") == ["line 48", "line 49"]
    assert messages(client, "to=1769868001000&service=shop") == ["line 0", "line 1"]
    assert messages(client, "service=other") == []
    assert messages(client, "last=15m") == []


def test_a_tail_and_lines_around(client):
    post(client, *(line(number) for number in range(10)))
    answer = client.get(f"{LINES}?after=8").json
    assert (len(answer["lines"]), answer["lastId"]) == (2, 10)
    assert client.get(f"{LINES}?after=10").json == {"lines": [], "more": None, "searchedFrom": None, "lastId": 10}
    assert messages(client, "line=5") == [f"line {number}" for number in range(10)]
    assert client.get(f"{LINES}?line=99").status == 404


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=1001", "severity=loud", "from=soon", "last=1y", "trace=xyz", "before=1", "line=-1"]
)
def test_a_bad_parameter_is_named(client, query):
    answer = client.get(f"{LINES}?{query}")
    assert answer.status == 400
    assert query.partition("=")[2] in answer.text


@pytest.mark.parametrize(("last", "count"), [("7d", 2), ("1w", 2), ("1.5h", 1), ("90min", 1), ("all", 2)])
def test_times_are_written_as_on_all_pages(client, last, count):
    now = time.time()
    post(client, line(1, time=now - 60), line(2, time=now - 6000))
    assert len(messages(client, f"last={last}")) == count


def test_limits_and_origin(shared):
    assert shared.post(b"x" * (10 * 1024 * 1024 + 1), LINES).status == 413
    assert shared.post(gzip.compress(b"x" * (10 * 1024 * 1024 + 1)), LINES, content_encoding="gzip").status == 413
    assert shared.post(b"torn", LINES, content_encoding="gzip").status == 400
    assert shared.post(b"a line", LINES, origin="http://elsewhere").status == 403
    assert shared.post(b"{}", "/v1/logs", origin="http://elsewhere").status == 403


def test_a_token_is_asked_for():
    with CollectorServer(options=Options(token="secret")) as server:
        client = client_of(server)
        assert client.post(b"a line", LINES).status == 401
        assert client.post(b"{}", "/v1/logs").status == 401
        assert client.get(LINES).status == 401
        assert client.post(b"a line", LINES, authorization="Bearer secret").status == 200


def test_lines_survive_in_the_file_of_the_spans_and_make_room(tmp_path):
    storage = f"sqlite:///{tmp_path / 'traces.db'}"
    with CollectorServer(storage=storage) as server:
        post(client_of(server), line(1))
    with CollectorServer(storage=storage, options=Options(max_line_bytes=5_000)) as server:
        client = client_of(server)
        assert messages(client) == ["line 1"]
        for number in range(40):
            post(client, line(number, message="".join(chr(97 + number * k % 26) for k in range(300))))
        text = client.get("/prometheus").text
        stored, dropped = (int(text.split(f"\nobskit_lines_{name} ")[1].split("\n")[0]) for name in NAMES)
        assert stored + dropped == 41
        assert stored == len(messages(client))


NAMES = ("stored", "dropped_total")


def test_damaged_storage_is_503(tmp_path):
    path = tmp_path / "traces.db"
    with CollectorServer(storage=f"sqlite:///{path}") as server:
        path.unlink()
        assert post(client_of(server), line(1)).status == 503


# --- OpenTelemetry ---------------------------------------------------------------------------------------


def record(**fields):
    return {"timeUnixNano": "1769868000000000000", "severityNumber": 17, "body": {"stringValue": "no stock"}, **fields}


def request(*records):
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {"name": "lib"}, "logRecords": records}]}]}


def test_otlp_in_json(client):
    attributes = [
        {"key": "code.filepath", "value": {"stringValue": "a.py"}},
        {"key": "code.lineno", "value": {"intValue": "7"}},
        {"key": "exception.stacktrace", "value": {"stringValue": "Traceback ..."}},
        {"key": "cart", "value": {"intValue": 3}},
    ]
    sent = record(traceId=TRACE.upper(), spanId="EEE19B7EC3C1B174", attributes=attributes, unknown=1)
    answer = client.post(json.dumps(request(sent)).encode(), "/v1/logs", **JSON)
    assert (answer.status, answer.json, answer.headers["content-type"]) == (200, {}, "application/json")
    assert client.get(LINES).json["lines"] == [
        {
            "id": 1,
            "time": "2026-01-31T14:00:00.000000Z",
            "severity": "ERROR",
            "service": "shop",
            "logger": "lib",
            "message": "no stock\nTraceback ...",
            "trace": TRACE,
            "span": "eee19b7ec3c1b174",
            "source": "a.py:7",
            "fields": {"cart": 3},
        }
    ]


def test_a_record_that_makes_no_sense_is_refused_alone(client):
    odd = [record(attributes=[1]), record(timeUnixNano="soon")]
    sent = request(record(), *odd, record(traceId="xyz", spanId="0" * 16, body=None))
    answer = client.post(json.dumps(sent).encode(), "/v1/logs", **JSON)
    assert answer.json["partialSuccess"]["rejectedLogRecords"] == "2"
    assert len(client.get(LINES).json["lines"]) == 2


@pytest.mark.parametrize(
    ("number", "severity"),
    [(1, "DEBUG"), (9, "INFO"), (14, "WARNING"), (20, "ERROR"), (24, "CRITICAL"), ("SEVERITY_NUMBER_WARN2", "WARNING")],
)
def test_severities(client, number, severity):
    client.post(json.dumps(request(record(severityNumber=number))).encode(), "/v1/logs", **JSON)
    assert client.get(LINES).json["lines"][0]["severity"] == severity


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"resourceLogs": 1}', b'{"resourceLogs": [{"scopeLogs": [1]}]}'])
def test_a_message_that_is_none_is_400(shared, body):
    assert shared.post(body, "/v1/logs", **JSON).status == 400
    assert shared.post(b"\xff\xff", "/v1/logs", content_type="application/x-protobuf").status == 400
    assert shared.post(b"{}", "/v1/logs", content_type="text/plain").status == 415


def test_opentelemetrys_own_exporter():
    with CollectorServer() as server:
        exporter = OTLPLogExporter(f"{server.url}/v1/logs")
        provider = LoggerProvider(Resource({"service.name": "shop", "service.instance.id": "pod-1"}))
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = provider.get_logger("shop.orders")
        logger.emit(severity_number=SeverityNumber.ERROR, body="no stock", attributes={"cart": 3})
        provider.shutdown()
        (found,) = Client(server.host, server.port).get(f"{LINES}?service=shop").json["lines"]
        assert (found["message"], found["severity"], found["logger"]) == ("no stock", "ERROR", "shop.orders")
        assert found["instance"] == "pod-1"
        assert found["fields"]["cart"] == 3
