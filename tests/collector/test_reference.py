"""The collector beside the real Zipkin server: the same posts and the same traffic of the demo, the same answers."""

import json
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from obskit.cli.demo_services import running
from obskit.zipkin.json_v2 import decode_list
from tests.collector import reference_traces
from tests.examples.test_examples import FAILED, SERVED, b3, get

DATA = Path(__file__).parents[1] / "data"
BODIES = [path.read_bytes() for path in sorted(reference_traces.FOLDER.glob("*.json"))]  # none where they are missing
CASES = json.loads((DATA / "span_json.json").read_text(encoding="utf-8"))
ACCEPTED = [
    case["body"].encode() if "body" in case else bytes.fromhex(case["body_hex"])
    for case in CASES
    if case["http_status"] == 202 and case["spans"]
]
ALL_SPANS = [span for body in BODIES + ACCEPTED for span in decode_list(body)]
TRACE_IDS = sorted({span.trace_id for span in ALL_SPANS})
SERVICES = sorted({span.local_endpoint.service_name for span in ALL_SPANS if span.local_endpoint} - {None})
ALL_TIME = {"endTs": "1900000000000", "lookback": "1900000000000", "limit": "1000"}
SEARCHES = [
    {},
    {"serviceName": "auth"},
    {"serviceName": "servicea", "spanName": "poll"},
    {"spanName": "get", "minDuration": "1000"},
    {"minDuration": "1000", "maxDuration": "2000"},
    {"annotationQuery": "error"},
    {"annotationQuery": "http.method=GET and http.path"},
    {"remoteServiceName": "kafka"},
    {"serviceName": "frontend", "annotationQuery": "ws"},
    {"endTs": "1531282088550", "lookback": "1000"},
]


def poll(read, expected):
    """The reference answers before it has stored: read until it shows what is expected, for ten seconds."""
    deadline = time.monotonic() + 10
    while (answer := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def as_sets(answer):
    """Traces by id, each a sorted list of spans: neither server promises an order of the spans in a trace."""
    return {trace[0]["traceId"]: sorted(json.dumps(span) for span in trace) for trace in answer.json}


@pytest.fixture(scope="module")
def both(shared, zipkin_server):
    """Both servers with the same spans."""
    for body in BODIES + ACCEPTED:
        assert shared.post(body).status == zipkin_server.post(body).status == 202
    total = len(as_sets(shared.get(f"/api/v2/traces?{urlencode(ALL_TIME)}")))
    poll(lambda: len(as_sets(zipkin_server.get(f"/api/v2/traces?{urlencode(ALL_TIME)}"))), total)
    return shared, zipkin_server


@pytest.mark.parametrize("trace_id", TRACE_IDS)
def test_a_trace_is_the_same_span_for_span(both, trace_id):
    ours, theirs = both
    expected = as_sets_of_one(ours.get(f"/api/v2/trace/{trace_id}"))
    assert poll(lambda: as_sets_of_one(theirs.get(f"/api/v2/trace/{trace_id}")), expected) == expected


def as_sets_of_one(answer):
    return sorted(json.dumps(span) for span in answer.json)


def test_the_services_are_the_same(both):
    ours, theirs = (server.get("/api/v2/services") for server in both)
    assert ours.json == theirs.json
    assert ours.headers["cache-control"] == theirs.headers["cache-control"]


@pytest.mark.parametrize("service", [*SERVICES, "nobody", ""])
@pytest.mark.parametrize("names", ["spans", "remoteServices"])
def test_the_names_of_a_service_are_the_same(both, names, service):
    ours, theirs = (server.get(f"/api/v2/{names}?serviceName={quote(service)}") for server in both)
    assert ours.json == theirs.json


@pytest.mark.parametrize("search", SEARCHES, ids=urlencode)
def test_a_search_finds_the_same_traces(both, search):
    ours, theirs = (server.get(f"/api/v2/traces?{urlencode({**ALL_TIME, **search})}") for server in both)
    assert as_sets(ours) == as_sets(theirs)


def test_the_dependencies_are_the_same(both):
    query = f"/api/v2/dependencies?endTs={ALL_TIME['endTs']}&lookback={ALL_TIME['lookback']}"
    ours, theirs = (sorted(map(json.dumps, server.get(query).json)) for server in both)
    assert ours == theirs


@pytest.mark.parametrize(
    "path",
    [
        *("/api/v2/dependencies", "/api/v2/dependencies?endTs=0", "/api/v2/dependencies?endTs=1&lookback=0"),
        *("/api/v2/trace/zz", "/api/v2/trace/1234", "/api/v2/traceMany", "/api/v2/traceMany?traceIds=1"),
        *("/api/v2/traces?limit=0", "/api/v2/traces?minDuration=x", "/api/v2/traces?endTs=", "/api/v2/spans"),
        *("/nope", "/health", "/info"),
    ],
)
def test_the_status_is_the_same(both, path):
    ours, theirs = (server.get(path) for server in both)
    assert ours.status == theirs.status


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_a_post_has_the_same_status(both, case):
    body = case["body"].encode() if "body" in case else bytes.fromhex(case["body_hex"])
    ours, theirs = (server.post(body) for server in both)
    assert ours.status == theirs.status


@pytest.fixture(scope="module")
def demo(both):
    """Return the address of the demo's service a, whose traces go to both servers."""
    ours, theirs = ("http://{}:{}".format(*server.address) for server in both)
    with running(ours, exporter=theirs) as services:
        yield f"http://127.0.0.1:{services['a'].port}"


@pytest.mark.parametrize(
    ("dish", "size", "decision"),
    [
        ("soup", SERVED, {"X-B3-Sampled": "1"}),
        ("dragon", FAILED, {"X-B3-Sampled": "1"}),
        ("soup", SERVED, {"X-B3-Flags": "1"}),
    ],
)
def test_a_trace_of_the_demo_is_the_same(both, demo, dish, size, decision):
    trace_id, headers = b3(**decision)
    get(f"{demo}/order/{dish}", headers)
    ours, theirs = (complete(server, trace_id, size) for server in both)
    assert ours == theirs
    for path in ("services", "spans?serviceName=a", "spans?serviceName=c"):
        ours, theirs = (server.get(f"/api/v2/{path}") for server in both)
        assert ours.json == theirs.json


def complete(server, trace_id, size):
    """Return a trace when it has ``size`` spans."""
    deadline = time.monotonic() + 30
    while True:
        answer = server.get(f"/api/v2/trace/{trace_id}")
        if answer.status == 200 and len(answer.json) == size:
            return as_sets_of_one(answer)
        assert time.monotonic() < deadline, f"{server.address}: {answer}"
        time.sleep(0.02)
