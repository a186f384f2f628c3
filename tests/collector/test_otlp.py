"""OTLP over HTTP: what OpenTelemetry's own exporters send, and messages that make no sense."""

import gzip
import json

import pytest

from obskit.base.protobuf import varint

TRACE, SPAN_ID = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
JSON = {"content_type": "application/json"}
PROTOBUF = {"content_type": "application/x-protobuf"}


def text(key, value):
    return {"key": key, "value": {"stringValue": value}}


SPAN = {
    "traceId": TRACE.upper(),
    "spanId": SPAN_ID,
    "parentSpanId": "0020000000000001",
    "name": "GET /Orders",
    "kind": 3,
    "startTimeUnixNano": "1544712660000001000",
    "endTimeUnixNano": 1544712660500001000,
    "attributes": [
        text("http.request.method", "GET"),
        text("server.address", "Stock"),
        {"key": "server.port", "value": {"intValue": "8080"}},
        {"key": "n", "value": {"intValue": 5}},
        {"key": "ratio", "value": {"doubleValue": 0.5}},
        {"key": "flag", "value": {"boolValue": True}},
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [text("b", "c")]}}},
        {"key": "bytes", "value": {"bytesValue": "AQI="}},
        {"key": "none", "value": {}},
    ],
    "events": [
        {"timeUnixNano": "1544712660100000000", "name": "retry"},
        {"timeUnixNano": "1544712660200000000", "name": "cache", "attributes": [text("hit", "no")]},
    ],
    "links": [{"traceId": "a" * 32, "spanId": "b" * 16, "attributes": [text("k", "v")]}],
    "droppedAttributesCount": 2,
    "status": {"code": 2, "message": "no stock"},
}


def request(*spans):
    resource = {"attributes": [text("service.name", "Shop"), text("host.name", "h1")]}
    scope = {"name": "lib", "version": "1.2"}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": list(spans)}]}]}


ZIPKIN = {
    "traceId": TRACE,
    "parentId": "0020000000000001",
    "id": SPAN_ID,
    "kind": "CLIENT",
    "name": "get /orders",
    "timestamp": 1544712660000001,
    "duration": 500000,
    "localEndpoint": {"serviceName": "shop"},
    "remoteEndpoint": {"serviceName": "stock", "port": 8080},
    "annotations": [
        {"timestamp": 1544712660100000, "value": "retry"},
        {"timestamp": 1544712660200000, "value": '"cache":{"hit":"no"}'},
    ],
    "tags": {
        "bytes": "AQI=",
        "error": "no stock",
        "flag": "true",
        "host.name": "h1",
        "http.request.method": "GET",
        "list": '["a",1]',
        "map": '{"b":"c"}',
        "n": "5",
        "none": "",
        "otel.dropped_attributes_count": "2",
        "otel.scope.name": "lib",
        "otel.scope.version": "1.2",
        "otel.status_code": "ERROR",
        "otlp.link.0": "a" * 32 + "|" + "b" * 16 + '||{"k":"v"}',
        "ratio": "0.5",
        "server.address": "Stock",
        "server.port": "8080",
    },
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_span_in_json_is_a_span_of_zipkin(client, compress):
    encoding = {"content_encoding": "gzip"} if compress is gzip.compress else {}
    answer = client.post(compress(json.dumps(request(SPAN)).encode()), "/v1/traces", **JSON, **encoding)
    assert (answer.status, answer.json, answer.headers["content-type"]) == (200, {}, "application/json")
    assert client.get(f"/api/v2/trace/{TRACE}").json == [ZIPKIN]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(0, None), (1, None), (2, "SERVER"), (4, "PRODUCER"), (5, "CONSUMER"), ("SPAN_KIND_CLIENT", "CLIENT"), (9, None)],
)
def test_kinds(client, kind, expected):
    client.post(json.dumps(request({**SPAN, "kind": kind})).encode(), "/v1/traces", **JSON)
    (found,) = client.get(f"/api/v2/trace/{TRACE}").json
    assert found.get("kind") == expected
    assert ("remoteEndpoint" in found) == (expected in {"CLIENT", "PRODUCER"})


@pytest.mark.parametrize(
    "bad",
    [{"traceId": value} for value in ("", "0" * 32, "x" * 32, "a" * 31, None)]
    + [{"spanId": value} for value in ("", "0" * 16, "a" * 17)]
    + [{"attributes": [{"key": "k", "value": {"bytesValue": "*"}}]}, {"startTimeUnixNano": "x"}],
    ids=repr,
)
def test_a_span_that_makes_no_sense_is_refused_alone(client, bad):
    answer = client.post(json.dumps(request({**SPAN, **bad}, SPAN)).encode(), "/v1/traces", **JSON)
    assert (answer.status, answer.json["partialSuccess"]["rejectedSpans"]) == (200, "1")
    assert client.get(f"/api/v2/trace/{TRACE}").json == [ZIPKIN]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"1", b'{"resourceSpans":5}', b'{"resourceSpans":[{"resource":[]}]}x', b"[" * 100_000]
)
def test_json_that_is_no_message_is_refused(shared, body):
    assert shared.post(body, "/v1/traces", **JSON).status == 400


@pytest.mark.parametrize("value", [[1], {"a": 1}, "x", True, [[]], [{"scopeSpans": [{"spans": [5]}]}]])
def test_odd_types_are_a_400_or_nothing(shared, value):
    assert shared.post(json.dumps({"resourceSpans": value}).encode(), "/v1/traces", **JSON).status in {200, 400}


def test_lone_surrogates_are_stored_as_question_marks(client):
    body = json.dumps(request({**SPAN, "name": "\ud800"})).encode()
    assert client.post(body, "/v1/traces", **JSON).status == 200
    assert client.get(f"/api/v2/trace/{TRACE}").json[0]["name"] == "?"


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-thrift"])
def test_another_format_is_refused(shared, kind):
    assert shared.post(b"", "/v1/traces", content_type=kind).status == 415


@pytest.mark.parametrize(
    "body", [b"\x0a\x05", b"\x0b", b"\xff" * 11, b"\x08\x01", b"\x0a\x02\x08\x01", b"\x0f"], ids=bytes.hex
)
def test_protobuf_that_is_torn_or_makes_no_sense_is_refused(shared, body):
    assert shared.post(body, "/v1/traces", **PROTOBUF).status == 400


def test_messages_within_messages_without_end_are_refused(shared):
    def field(key, content):
        return key + varint(len(content)) + content

    value = b""
    for _ in range(200):
        value = field(b"\x2a", field(b"\x0a", value))  # a list in a list
    attribute = field(b"\x12", value)
    body = field(b"\x0a", field(b"\x0a", field(b"\x0a", attribute)))
    assert shared.post(body, "/v1/traces", **PROTOBUF).status == 400


def test_an_empty_protobuf_message_is_taken(shared):
    answer = shared.post(b"", "/v1/traces", **PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")


def test_opentelemetrys_own_exporter_is_understood(client):
    exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

    exporter = exporters.OTLPSpanExporter(
        "http://{}:{}/v1/traces".format(*client.address), compression=exporters.Compression.Gzip
    )
    provider = TracerProvider(resource=Resource({"service.name": "Shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    link = Link(SpanContext(10, 11, is_remote=True), {"k": [1, 2]})
    attributes = {"peer.service": "Stock", "n": -5, "ratio": 0.25, "flags": [True, False]}
    start = provider.get_tracer("lib", "1").start_as_current_span
    with (
        start("Parent", kind=SpanKind.SERVER) as parent,
        start("Child", kind=SpanKind.CLIENT, attributes=attributes, links=[link]) as child,
    ):
        child.add_event("e", {"a": "b"})
        child.set_status(StatusCode.ERROR, "bad")
    provider.shutdown()
    found = {span["name"]: span for span in client.get(f"/api/v2/trace/{parent.get_span_context().trace_id:032x}").json}
    assert found["parent"]["kind"] == "SERVER"
    child = found["child"]
    assert child["parentId"] == found["parent"]["id"]
    assert child["remoteEndpoint"] == {"serviceName": "stock"}
    assert child["annotations"][0]["value"] == '"e":{"a":"b"}'
    expected = {"n": "-5", "ratio": "0.25", "flags": "[true,false]", "error": "bad", "otel.scope.name": "lib"}
    assert child["tags"].items() >= expected.items()
    assert child["tags"]["otlp.link.0"] == f'{10:032x}|{11:016x}||{{"k":"[1,2]"}}'
