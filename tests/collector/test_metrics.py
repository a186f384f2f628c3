"""/metrics and /prometheus: what was counted, under Zipkin's names, with the real server's values."""

import gzip
import re
import socket
import time
from types import SimpleNamespace

import pytest

from obskit.collector import request_times as request_times_module
from obskit.collector.intake.zipkin import MAX_BODY
from obskit.collector.server import CollectorServer
from obskit.collector.store.database import StoreError
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.proto3_encode import encode_list as encode_proto3

from .conftest import client_of

SPAN = b'[{"traceId":"1","id":"2","localEndpoint":{"serviceName":"a"}}]'
TWO = b"[" + SPAN[1:-1] + b"," + SPAN[1:-1] + b"]"
NAMES = [
    *(f"counter.zipkin_collector.{name}.http" for name in ("messages", "messages_dropped", "bytes")),
    *(f"counter.zipkin_collector.{name}.http" for name in ("spans", "spans_dropped")),
    *(f"gauge.zipkin_collector.{name}.http" for name in ("message_bytes", "message_spans")),
]
POSTS = {
    "a span": (SPAN, {}),
    "gzip": (gzip.compress(SPAN, mtime=0), {"content_encoding": "gzip"}),
    "proto3": (encode_proto3(decode_list(SPAN)), {"content_type": "application/x-protobuf"}),
    "the same span twice": (TWO, {}),
    "nothing": (b"", {}),
    "not gzip": (SPAN, {"content_encoding": "gzip"}),
    "version 1": (b'[{"traceId":"1","id":"2","binaryAnnotations":[]}]', {}),
    "no list": (b"x" * 7, {}),
    "too large": (SPAN.ljust(MAX_BODY + 1), {}),
}


def values(client):
    return {name: value for name, value in client.get("/metrics").json.items() if name.endswith(".http")}


def changes(client, body, headers):
    """What a post changes: by how much a counter rises, and the value of a gauge."""
    before = values(client)
    client.post(body, **headers)
    after = values(client)
    return {name: value - before[name] * name.startswith("counter.") for name, value in after.items()}


@pytest.mark.parametrize("post", POSTS)
def test_a_post_is_counted_as_zipkin_counts_it(shared, zipkin_server, post):
    for server in (shared, zipkin_server):
        server.post(SPAN)  # the gauges begin alike
    ours = changes(shared, *POSTS[post])
    theirs = changes(zipkin_server, *POSTS[post])
    assert ours == theirs


def test_the_names_are_those_of_zipkin(shared, zipkin_server):
    assert sorted(values(shared)) == sorted(values(zipkin_server)) == sorted(NAMES)


def test_messages_bytes_and_spans_are_counted(client):
    assert client.get("/metrics").headers["content-type"] == "application/json"
    assert values(client) == dict.fromkeys(NAMES, 0)
    client.post(gzip.compress(TWO), content_encoding="gzip")
    client.post(SPAN)
    client.post(b'[{"traceId":"1"}]')
    client.post(b"[]", content_type="application/protobuf")
    counted = values(client)
    assert [counted[name] for name in NAMES] == [4, 2, len(TWO) + len(SPAN) + 17, 3, 0, 17, 1]


def test_what_a_client_left_unfinished_is_counted_as_dropped(client):
    with socket.create_connection(client.address) as connection:
        connection.sendall(b"POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[{")
    deadline = time.monotonic() + 10
    while not values(client)["counter.zipkin_collector.messages_dropped.http"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert values(client)["counter.zipkin_collector.messages.http"] == 0


def test_spans_that_could_not_be_stored_are_counted():
    def fail(_spans):
        raise StoreError("the disk is full")

    with CollectorServer(on_stored=fail) as server:
        client = client_of(server)
        assert client.post(TWO).status == 503
        counted = values(client)
        assert counted["counter.zipkin_collector.spans.http"] == 2
        assert counted["counter.zipkin_collector.spans_dropped.http"] == 2


def exposed(text):
    """The samples of Zipkin's collector in Prometheus' format, each with its type."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    samples = re.findall(r'^(zipkin_collector_\w+)\{transport="http",?\} (\S+)$', text, re.MULTILINE)
    return {name: (kinds[name], float(value)) for name, value in samples}


def test_prometheus_sees_the_same_values(client):
    client.post(TWO)
    answer = client.get("/prometheus")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = exposed(answer.text)
    for name, value in values(client).items():
        kind, _, short, _ = name.split(".")
        suffix = "_total" if kind == "counter" else ""
        assert samples.pop(f"zipkin_collector_{short}{suffix}") == (kind, value)
    assert not samples


def test_prometheus_sees_zipkins_names_and_types(shared, zipkin_server):
    ours, theirs = (exposed(server.get("/prometheus").text) for server in (shared, zipkin_server))
    assert {name: kind for name, (kind, _) in ours.items()} == {name: kind for name, (kind, _) in theirs.items()}


def request_times(client):
    """The counts of the histogram by method, status and path, and the bounds of its buckets."""
    text = client.get("/prometheus").text
    name = "http_server_requests_seconds"
    counts = re.findall(rf'^{name}_count\{{method="(.*?)",status="(.*?)",uri="(.*?)",?\}} (\S+)$', text, re.MULTILINE)
    bounds = set(re.findall(rf'^{name}_bucket\{{.*le="(.*?)",?\}}', text, re.MULTILINE))
    kinds = re.findall(rf"^# TYPE ({name}\S*) (\S+)$", text, re.MULTILINE)
    return {tuple(key): float(count) for *key, count in counts}, bounds, kinds


def test_the_times_of_requests_have_zipkins_names_labels_and_bounds(client, zipkin_server):
    for server in (client, zipkin_server):
        server.post(SPAN)
        server.post(b"x")
        server.post(b"[]", "/api/v1/spans")
        for path in ("/services", "/spans?serviceName=a", "/trace/2", "/trace/xyz", "/traceMany?traceIds=1"):
            server.get(f"/api/v2{path}")
            server.get(f"/zipkin/api/v2{path}")
        for path in ("/health", "/info", "/nope", "/zipkin/", "/metrics"):
            server.get(path)
    ours, theirs = request_times(client), request_times(zipkin_server)
    assert ours[0].keys() <= theirs[0].keys()
    assert ours[0].items() >= {
        (("POST", "202", "/api/v2/spans"), 1),
        (("POST", "202", "/api/v1/spans"), 1),
        (("GET", "200", "/api/v2/spans"), 2),
        (("GET", "404", "NOT_FOUND"), 2),
        (("GET", "400", "/api/v2/trace/{traceId}"), 2),
        (("GET", "400", "/api/v2/traceMany"), 2),
    }
    assert ours[1] <= theirs[1]
    assert ours[2] == theirs[2]


def test_a_request_is_in_the_bucket_of_its_time(client):
    before = time.monotonic()
    client.get("/api/v2/services")
    passed = time.monotonic() - before
    text = client.get("/prometheus").text
    (total,) = re.findall(r"^http_server_requests_seconds_sum\S+ (\S+)$", text, re.MULTILINE)
    (largest,) = re.findall(r"^http_server_requests_seconds_max\S+ (\S+)$", text, re.MULTILINE)
    assert 0 < float(total) == float(largest) < passed
    buckets = re.findall(r'^http_server_requests_seconds_bucket.*le="(\S+)"} (\S+)$', text, re.MULTILINE)
    assert {float(bound) >= float(total) for bound, count in buckets if count == "1"} == {True}
    assert {float(bound) < float(total) for bound, count in buckets if count == "0"} <= {True}


def test_what_clients_make_up_gets_no_metric_of_its_own(client):
    for method, path in (
        ("GET", "/api/x"),
        ("GET", "/api/v2/x"),
        ("BREW", "/api/v2/services"),
        ("GET", "/api/v2/trace/"),
    ):
        client.request(method, path)
    assert sorted(request_times(client)[0]) == [("GET", "404", "NOT_FOUND"), ("UNKNOWN", "405", "/api/v2/services")]


def test_the_largest_time_is_forgotten_after_two_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(request_times_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    times = request_times_module._Times()
    times.add(3.0)
    for passed, largest in ((59, 3.0), (61, 3.0), (119, 3.0), (122, 0.0)):
        now[0] = passed
        assert times.largest == largest
