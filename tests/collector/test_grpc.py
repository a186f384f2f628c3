"""Spans over gRPC, from real clients, on a real port."""

import base64
import contextlib
import socket
import threading
import time

import grpc
import pytest

from obskit.collector.intake import grpc_service
from obskit.collector.intake.grpc_service import GrpcIntake
from obskit.collector.intake.zipkin import MAX_BODY
from obskit.collector.server import CollectorServer
from obskit.collector.store.database import StoreError
from obskit.export.delivery.exporter import DELIVERED
from obskit.export.zipkin.exporters import ZipkinGrpcExporter
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.proto3_encode import encode_list

from .conftest import client_of
from .test_cli import finish, start

METHOD = "/zipkin.proto3.SpanService/Report"
SPANS = decode_list(b'[{"traceId":"1","id":"2","name":"get","localEndpoint":{"serviceName":"shop"}}]')
MESSAGE = encode_list(SPANS)
PATIENCE = 20  # seconds until a test fails
ALONE = [("grpc.use_local_subchannel_pool", 1)]  # a channel with a connection of its own


@contextlib.contextmanager
def collector(token=None, **options):
    intake = GrpcIntake("127.0.0.1", 0, token)
    with CollectorServer(intakes=[intake], **options) as server:
        yield server, f"127.0.0.1:{intake.port}"


def report(address, body, *metadata, **options):
    """The status of a call, and what was said about it."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        try:
            answer = call(body, timeout=PATIENCE, metadata=metadata, **options)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", answer


def values(client, transport="grpc"):
    counted = client.get("/metrics").json
    return {name.split(".")[2]: value for name, value in counted.items() if name.endswith(f".{transport}")}


def nothing_until(end):
    """The messages of a call that sends none."""
    end.wait(PATIENCE)
    yield from ()


def test_our_exporter_sends_spans_that_are_stored_once_it_is_answered():
    with collector() as (server, address):
        exporter = ZipkinGrpcExporter(address, False, lambda span: span)
        outcome = exporter.send([exporter.encode(span) for span in SPANS], time.monotonic() + PATIENCE)
        exporter.close()
        assert (outcome, client_of(server).get("/api/v2/services").json) == (DELIVERED, ["shop"])


def test_an_answer_waits_for_the_spans_to_be_stored():
    stored, asked = threading.Event(), threading.Event()

    def wait(_spans):
        asked.set()
        assert stored.wait(PATIENCE)

    with collector(on_stored=wait) as (_, address), grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD).future(MESSAGE, timeout=PATIENCE)
        assert asked.wait(PATIENCE)
        assert not call.done()
        stored.set()
        assert call.result() == b""


@pytest.mark.parametrize("body", [MESSAGE, b"", b"x" * 7, MESSAGE[:-3], b"\x0a\x00"])
def test_messages_are_taken_and_refused_as_zipkin_does(zipkin_server, body):
    theirs, _ = report("{}:{}".format(*zipkin_server.address), body)
    with collector() as (_, address):
        ours, _ = report(address, body)
    assert (ours == "OK") == (theirs == "OK")


def test_a_malformed_message_is_refused_and_stores_nothing():
    with collector() as (server, address):
        assert report(address, MESSAGE + b"\x0a\x05x")[0] == "INVALID_ARGUMENT"
        assert client_of(server).get("/api/v2/services").json == []


def test_compressed_messages_are_read():
    with collector() as (server, address):
        assert report(address, MESSAGE * 100, compression=grpc.Compression.Gzip) == ("OK", b"")
        assert values(client_of(server))["spans"] == 100


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_has_ten_mebibytes_and_not_a_byte_more(compression):
    span = b"\x0a\x0a\x0a\x08" + b"\0" * 7 + b"\1"  # a trace id alone: refused once it is read
    with collector() as (_, address):
        largest = span * (MAX_BODY // len(span))
        largest = largest.ljust(MAX_BODY, b"\0")
        assert report(address, largest, compression=compression)[0] == "INVALID_ARGUMENT"
        code, said = report(address, largest + b"\0", compression=compression)
        assert (code, "larger" in said) == ("RESOURCE_EXHAUSTED", True)
        assert report(address, MESSAGE)[0] == "OK"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "UNAUTHENTICATED"),
        ("Bearer wrong", "UNAUTHENTICATED"),
        ("Bearer secret", "OK"),
        ("Basic " + base64.b64encode(b"any:secret").decode(), "OK"),
    ],
)
def test_a_token_is_asked_for(authorization, code):
    metadata = [("authorization", authorization)] if authorization else []
    with collector("secret") as (_, address):
        assert report(address, MESSAGE, *metadata)[0] == code


def test_a_failing_store_is_unavailable_so_that_exporters_try_again():
    def fail(_spans):
        raise StoreError("the disk is full")

    with collector(on_stored=fail) as (server, address):
        assert report(address, MESSAGE) == ("UNAVAILABLE", "storage failed: the disk is full")
        assert values(client_of(server))["spans_dropped"] == 1


def test_a_trace_that_is_larger_than_the_store_is_refused():
    with collector(max_spans=3) as (_, address):
        spans = decode_list(b"[" + b",".join(b'{"traceId":"1","id":"%d"}' % number for number in range(1, 9)) + b"]")
        assert report(address, encode_list(spans))[0] == "RESOURCE_EXHAUSTED"


def test_messages_are_counted_for_themselves():
    with collector() as (server, address):
        report(address, MESSAGE)
        report(address, b"x" * 7)
        client = client_of(server)
        assert values(client) == {
            "messages": 2,
            "messages_dropped": 1,
            "bytes": len(MESSAGE) + 7,
            "spans": 1,
            "spans_dropped": 0,
            "message_bytes": 7,
            "message_spans": 1,
        }
        assert values(client, "http")["messages"] == 0
        assert 'zipkin_collector_messages_total{transport="grpc"} 2' in client.get("/prometheus").text


def test_another_method_is_unimplemented():
    with collector() as (_, address), grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/zipkin.proto3.SpanService/Other")(b"", timeout=PATIENCE)
        assert refused.value.code().name == "UNIMPLEMENTED"


def test_clients_that_send_no_message_keep_nobody_out_for_long():
    """With the deadlines as they are: the call has less time than a connection may get old."""
    end = threading.Event()
    with collector() as (_, address), contextlib.ExitStack() as stack:
        stack.callback(end.set)
        slow = []
        for _ in range(grpc_service._AT_ONCE * 2):
            channel = stack.enter_context(grpc.insecure_channel(address, ALONE))
            slow.append(channel.stream_unary(METHOD).future(nothing_until(end), timeout=PATIENCE * 2))
        assert report(address, MESSAGE) == ("OK", b"")
        assert "CANCELLED" in {call.code().name for call in slow if call.done()}


def test_a_slow_message_is_waited_for_where_nobody_else_waits(monkeypatch):
    monkeypatch.setattr(grpc_service, "_SLOW", 0.0)
    asked, end = threading.Event(), threading.Event()

    def late():
        asked.set()
        end.wait(PATIENCE)
        yield MESSAGE

    with collector() as (_, address), grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(METHOD).future(late(), timeout=PATIENCE)
        assert asked.wait(PATIENCE)
        assert [report(address, MESSAGE) for _ in range(5)] == [("OK", b"")] * 5
        end.set()
        assert call.result() == b""


def test_a_message_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(grpc_service, "_MESSAGE_TIMEOUT", 0.2)
    end = threading.Event()
    with collector() as (_, address), grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(METHOD).future(nothing_until(end), timeout=PATIENCE)
        assert call.code().name == "CANCELLED"
        end.set()


def test_a_call_without_a_message_is_refused():
    with collector() as (_, address), grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(METHOD).future(iter(()), timeout=PATIENCE)
        assert (call.code().name, call.details()) == ("INVALID_ARGUMENT", "the call has no message")


def test_calls_of_a_connection(monkeypatch):
    monkeypatch.setattr(grpc_service, "_MOST_CALLS_OF_CONNECTION", 2)
    end = threading.Event()
    with collector() as (_, address), grpc.insecure_channel(address, ALONE) as channel:
        grpc.channel_ready_future(channel).result(PATIENCE)  # the server has said how many
        waiting = [channel.stream_unary(METHOD).future(nothing_until(end), timeout=PATIENCE) for _ in range(2)]
        third = channel.unary_unary(METHOD).future(MESSAGE, timeout=PATIENCE)
        assert report(address, MESSAGE) == ("OK", b"")  # on a connection of its own
        assert not third.done()
        waiting[0].cancel()
        assert third.result() == b""
        end.set()


def test_connections_beyond_the_limit_are_closed(monkeypatch):
    monkeypatch.setattr(grpc_service, "_MOST_CONNECTIONS", 2)
    with collector() as (_, address), contextlib.ExitStack() as others:
        for _ in range(2):
            channel = others.enter_context(grpc.insecure_channel(address, ALONE))
            channel.unary_unary(METHOD)(MESSAGE, timeout=PATIENCE)
        with grpc.insecure_channel(address, ALONE) as channel, pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary(METHOD)(MESSAGE, timeout=PATIENCE)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_connection_that_says_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(grpc_service, "_HANDSHAKE", 200)
    with collector() as (_, address), socket.create_connection(address.split(":"), PATIENCE) as connection:
        while connection.recv(1000):
            pass


def test_a_call_without_an_end_is_cut(monkeypatch):
    monkeypatch.setattr(grpc_service, "_CONNECTION_AGE", 200)
    monkeypatch.setattr(grpc_service, "_LONGEST_CALL", 200)
    end = threading.Event()
    with collector() as (_, address), grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(METHOD).future(nothing_until(end), timeout=PATIENCE)
        assert call.code().name == "UNAVAILABLE"
        end.set()


def test_a_port_in_use_is_said_and_leaves_nothing_open():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = CollectorServer(intakes=[GrpcIntake("127.0.0.1", port)])
        with pytest.raises(OSError, match=str(port)):
            server.start()
        assert not server.running


def test_the_command_says_where_and_refuses_a_bad_port():
    status, _, err = finish("--grpc-port", "x", "--port", "0")
    assert (status, "--grpc-port" in err, len(err.splitlines())) == (2, True, 1)
    process = start("--port", "0", "--grpc-port", "0")
    try:
        process.stdout.readline()
        line = process.stdout.readline()
        assert line.startswith("obskit collector takes spans over gRPC on 127.0.0.1:")
        assert report(line.split()[-1], MESSAGE) == ("OK", b"")
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")
    finally:
        process.kill()
        process.wait()
