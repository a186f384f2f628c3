"""Limits of docs/collector.md, each reached and then passed by one.

Those of time, and of bytes held, are in ``test_slow_clients``, of wire and inflated bytes in ``test_ingest``, of
searches in ``test_workers``, of answers in ``test_api``, of storage in ``test_store``, of gRPC's messages in
``test_grpc``.
"""

import contextlib
import json
import socket
import struct
import time

import grpc
import pytest

from obskit.base.protobuf import varint
from obskit.collector.intake import grpc_service, log_entries, otlp
from obskit.collector.intake.grpc_service import GrpcIntake
from obskit.collector.intake.otlp_messages import read_protobuf
from obskit.collector.server import CollectorServer
from obskit.zipkin import decoding
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.proto3_encode import encode_list
from tests.export.receiver import eventually

from .conftest import client_of

PATIENCE = 20  # seconds until a test fails
JSON = "application/json"
PROTO3 = "application/x-protobuf"
SECOND = {"traceId": "1" * 16, "id": "2" * 16}
ODD = {"traceId": "1", "id": "2"}  # not as the reference would write it
THRIFT = b"\x0a\0\1" + struct.pack(">q", 1) + b"\x0a\0\4" + struct.pack(">q", 2) + b"\0"
OTLP = {"traceId": "1" * 32, "spanId": "2" * 16}


def message(field, content):
    """A message within another."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def otlp_json(spans):
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def otlp_protobuf(count):
    span = message(2, message(1, b"\1" * 16) + message(2, b"\2" * 8))
    return message(1, message(2, span * count))


def thrift(count):
    return b"\x0c" + struct.pack(">i", count) + THRIFT * count


MESSAGES = {
    "JSON": ("/api/v2/spans", JSON, lambda count: json.dumps([SECOND] * count).encode()),
    "odd JSON": ("/api/v2/spans", JSON, lambda count: json.dumps([ODD] * count).encode()),
    "proto3": ("/api/v2/spans", PROTO3, lambda count: encode_list(decode_list(json.dumps([ODD] * count).encode()))),
    "odd proto3": (
        "/api/v2/spans",
        PROTO3,
        lambda count: encode_list(decode_list(json.dumps([ODD]).encode())) * count + b"\x0a\0",
    ),
    "JSON of version 1": ("/api/v1/spans", JSON, lambda count: json.dumps([ODD] * count).encode()),
    "thrift": (
        "/api/v1/spans",
        "application/x-thrift",
        lambda count: b"\x0c" + struct.pack(">i", count) + THRIFT * count,
    ),
    "OTLP in JSON": ("/v1/traces", JSON, lambda count: otlp_json([OTLP] * count)),
    "OTLP, of which nothing is taken": ("/v1/traces", JSON, lambda count: otlp_json([{}] * count)),
    "OTLP": ("/v1/traces", PROTO3, otlp_protobuf),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_spans_of_a_message(shared, monkeypatch, name):
    path, kind, make = MESSAGES[name]
    bodies = make(10), make(11)
    monkeypatch.setattr(decoding, "MOST_SPANS", 10)
    assert shared.post(bodies[0], path, content_type=kind).status in {200, 202}
    answer = shared.post(bodies[1], path, content_type=kind)
    assert (answer.status, answer.text) == (413, "over 10 spans; send fewer in one message\n")


def test_a_hundred_thousand_spans_are_a_message(shared):
    assert decoding.MOST_SPANS == 100_000
    assert shared.post(json.dumps([SECOND] * 100_000).encode()).status == 202
    assert shared.post(json.dumps([SECOND] * 100_001).encode()).status == 413


def thrift_tags(keys):
    """A span with tags of version 1, in thrift."""
    listed = b"\x0f\0\x08\x0c" + struct.pack(">i", len(keys))
    for key in keys:
        name = b"\x0b\0\1" + struct.pack(">i", len(key)) + key.encode()
        listed += name + b"\x0b\0\2\0\0\0\1v" + b"\x08\0\3\0\0\0\6" + b"\0"
    return b"\x0c" + struct.pack(">i", 1) + THRIFT[:-1] + listed + b"\0"


def keys(count):
    return [f"k{number}" for number in range(count)]


def tagged(count):
    return {**ODD, "tags": dict.fromkeys(keys(count), "v")}


def attributes(count):
    return [{"key": key, "value": {"stringValue": "v"}} for key in keys(count)]


def annotated(count):
    return {**SECOND, "annotations": [{"timestamp": 1, "value": key} for key in sorted(keys(count))]}


PARTS = {
    "tags": ("/api/v2/spans", JSON, lambda count: json.dumps([SECOND, tagged(count)]).encode()),
    "tags in proto3": (
        "/api/v2/spans",
        PROTO3,
        lambda count: encode_list(decode_list(json.dumps([tagged(count)]).encode())),
    ),
    "tags of version 1": (
        "/api/v1/spans",
        JSON,
        lambda count: json.dumps(
            [{**ODD, "binaryAnnotations": [{"key": key, "value": "v"} for key in keys(count)]}]
        ).encode(),
    ),
    "tags in thrift": ("/api/v1/spans", "application/x-thrift", lambda count: thrift_tags(keys(count))),
    "annotations": ("/api/v2/spans", JSON, lambda count: json.dumps([annotated(count)]).encode()),
    "annotations in proto3": (
        "/api/v2/spans",
        PROTO3,
        lambda count: encode_list(decode_list(json.dumps([annotated(count)]).encode())),
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_tags_and_annotations_of_a_span(shared, name):
    path, kind, make = PARTS[name]
    assert shared.post(make(10_000), path, content_type=kind).status == 202
    answer = shared.post(make(10_001), path, content_type=kind)
    assert (answer.status, answer.text.split(";")[0]) == (413, f"a span has over 10000 {name.split()[0]}")


def test_a_span_of_otlp_with_too_many_tags_is_refused_alone(client):
    spans = [{**OTLP, "spanId": f"{count:016x}", "attributes": attributes(count)} for count in (10_000, 10_001)]
    answer = client.post(otlp_json(spans), "/v1/traces")
    assert (answer.status, answer.json["partialSuccess"]["rejectedSpans"]) == (200, "1")
    assert len(client.get("/api/v2/trace/" + "1" * 32).json) == 1


def test_attributes_of_a_resource_are_copied_so_often_and_not_more(shared, monkeypatch):
    assert otlp.MOST_COPIED == 64 * 1024 * 1024
    each = len("service") + len("key") + len("value") + 50
    monkeypatch.setattr(otlp, "MOST_COPIED", 10 * each)

    def body(count):
        resource = {"service.name": "service", "key": "value"}
        named = [{"key": key, "value": {"stringValue": value}} for key, value in resource.items()]
        spans = [{**OTLP, "spanId": f"{number + 1:016x}"} for number in range(count)]
        request = {"resourceSpans": [{"resource": {"attributes": named}, "scopeSpans": [{"spans": spans}]}]}
        return json.dumps(request).encode()

    assert shared.post(body(10), "/v1/traces").status == 200
    answer = shared.post(body(11), "/v1/traces")
    assert (answer.status, "attributes of its resource" in answer.text) == (413, True)


def otlp_logs(count, **scope):
    records = [{"timeUnixNano": str(number)} for number in range(count)]
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"scope": scope, "logRecords": records}]}]}).encode()


LINES = {
    "text": ("/api/obskit/v1/lines", lambda count: b"a\n" * count),
    "JSON": ("/api/obskit/v1/lines", lambda count: b"{}\n" * count),
    "a list": ("/api/obskit/v1/lines", lambda count: json.dumps([{}] * count).encode()),
    "OTLP": ("/v1/logs", otlp_logs),
    "OTLP, of which nothing is taken": (
        "/v1/logs",
        lambda count: json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [1] * count}]}]}).encode(),
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_of_a_message(shared, monkeypatch, name):
    assert log_entries.MOST_LINES == 200_000
    monkeypatch.setattr(log_entries, "MOST_LINES", 10)
    path, make = LINES[name]
    assert shared.post(make(10), path).status == 200
    answer = shared.post(make(11), path)
    assert (answer.status, answer.text) == (413, "over 10 lines; send fewer in one message\n")


def test_the_names_that_lines_share_are_cut(client):
    client.post(b"one", "/api/obskit/v1/lines?service=" + "s" * 256 + "&instance=" + "i" * 256)
    client.post(otlp_logs(1, name="n" * 256), "/v1/logs")
    first, second = (
        client.get("/api/obskit/v1/lines?service=" + "s" * 255).json["lines"],
        client.get("/api/obskit/v1/lines?service=unknown").json["lines"],
    )
    assert (first[0]["service"], first[0]["instance"]) == ("s" * 255, "i" * 255)
    assert second[0]["logger"] == "n" * 255


@pytest.mark.parametrize(("depth", "status"), [(253, 202), (254, 400)])
@pytest.mark.parametrize("path", ["/api/v2/spans", "/api/v1/spans"])
def test_nesting_of_json(shared, path, depth, status):
    nested = "[" * depth + "]" * depth
    assert shared.post(f'[{{"traceId":"1","id":"2","x":{nested}}}]'.encode(), path).status == status


@pytest.mark.parametrize(("lists", "is_read"), [(29, True), (30, False)])
def test_nesting_of_otlp(lists, is_read):
    """The value of an attribute is the fifth message within the others, and each list of values is two more."""
    value = b"\x10\1"
    for _ in range(lists):
        value = message(5, message(1, value))
    span = message(2, message(9, message(1, b"key") + message(2, value)))
    body = message(1, message(2, span))
    if is_read:
        read_protobuf(body)
    else:
        with pytest.raises(DecodeError, match="nested deeper than 64"):
            read_protobuf(body)


@contextlib.contextmanager
def idle(server, number):
    """Connections on which nothing is said."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(socket.create_connection((server.host, server.port), PATIENCE))
        yield


def test_connections(monkeypatch):
    monkeypatch.setattr("obskit.collector.server._MOST_CONNECTIONS", 10)
    with CollectorServer() as server:
        client = client_of(server)
        with idle(server, 9):
            assert client.get("/health").status == 200
        eventually(lambda: client.get("/health").status == 200)
        with idle(server, 10):
            assert client.get("/health").status == 503
        eventually(lambda: client.get("/health").status == 200)


def test_headers_of_a_request(shared):
    for size, status in ((15_000, b"200"), (70_000, b"400")):
        with socket.create_connection(shared.address, PATIENCE) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
            with contextlib.suppress(ConnectionError):
                for _ in range(size // 1000):
                    connection.sendall(b"x" * 1000)
                    time.sleep(0.001)  # so that it does not all come at once
                connection.sendall(b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 " + status)


def test_grpc_calls(monkeypatch):
    monkeypatch.setattr(grpc_service, "_AT_ONCE", 2)
    monkeypatch.setattr(grpc_service, "_MOST_CALLS", 4)
    intake = GrpcIntake("127.0.0.1", 0)

    def never():
        time.sleep(PATIENCE)
        yield b""

    with CollectorServer(intakes=[intake]), contextlib.ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{intake.port}"))
        method = "/zipkin.proto3.SpanService/Report"
        waiting = [channel.stream_unary(method).future(never()) for _ in range(4)]
        stack.callback(lambda: [one.cancel() for one in waiting])
        call = channel.unary_unary(method)

        def code():
            try:
                call(b"", timeout=0.5)
            except grpc.RpcError as error:
                return error.code().name
            return "OK"

        eventually(lambda: code() == "RESOURCE_EXHAUSTED")
        for one in waiting:
            one.cancel()
        eventually(lambda: code() == "OK")


def test_time_between_a_trace_and_its_spans(client):
    now = int(time.time()) * 1_000_000
    end = now // 1000 - 3_600_000
    limit = end * 1000 + 900_000_000
    others = [{"traceId": f"{number + 9:x}", "id": "1", "timestamp": now} for number in range(600)]  # a block or two
    for number, timestamp in ((1, limit), (2, limit + 1)):
        client.post([{"traceId": str(number), "id": "1", "timestamp": end * 1000}])
        client.post(others)
        late = {"traceId": str(number), "id": "2", "parentId": "1", "timestamp": timestamp}
        client.post([{**late, "localEndpoint": {"serviceName": "late"}}])
        others = [{**other, "id": "2"} for other in others]
        client.post(others)
    found = client.get(f"/api/v2/traces?serviceName=late&endTs={end}&lookback=1000").json
    assert [trace[0]["traceId"][-1] for trace in found] == ["1"]
