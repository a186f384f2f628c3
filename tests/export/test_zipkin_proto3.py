"""Spans over HTTP as proto3, and which bodies are deflated."""

from __future__ import annotations

import gzip
import json
import socket
import time

import pytest

import obskit
from obskit.export.delivery.exporter import DELIVERED
from obskit.export.zipkin.exporters import ZipkinHttpExporter, encoding
from obskit.zipkin.model import Span
from obskit.zipkin.proto3_decode import decode_list
from tests.export.receiver import Receiver, receiver

pytestmark = pytest.mark.usefixtures("fresh")


def start(url: str, **options) -> None:
    obskit.init(service="Orders", exporter=url, integrations=[], flush_interval=0.01, **options)


def make(*names: str) -> None:
    for name in names:
        with obskit.span(name, text="a"):
            pass


def header(head: str, name: str) -> str | None:
    fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:])
    return fields.get(name)


def send(server: Receiver, host: str, name: str, text: str, count: int) -> None:
    """Send ``count`` spans to the receiver by that name for this host."""
    exporter = ZipkinHttpExporter(f"http://{host}:{server.port}/api/v2/spans", lambda span: span, encoding(name))
    spans = [Span(trace_id="1" * 16, id=f"{number:016x}", name=text) for number in range(1, count + 1)]
    assert exporter.send([exporter.encode(span) for span in spans], time.monotonic() + 10) is DELIVERED
    exporter.close()


def test_the_option_chooses_proto3():
    with receiver() as server:
        start(server.url, zipkin_encoding="proto3")
        make("First", "second")
        assert obskit.flush()
        assert {header(head, "content-type") for head in server.heads} == {"application/x-protobuf"}
        spans = decode_list(b"".join(server.bodies))
    assert [(span.name, span.tags, span.local_endpoint.service_name) for span in spans] == [
        ("first", {"text": "a"}, "orders"),
        ("second", {"text": "a"}, "orders"),
    ]


def test_the_variable_chooses_proto3(monkeypatch):
    monkeypatch.setenv("OBSKIT_ZIPKIN_ENCODING", "proto3")
    with receiver() as server:
        start(server.url)
        make("a")
        assert obskit.flush()
        assert [span.name for span in decode_list(server.bodies[0])] == ["a"]


def test_the_encoding_can_be_changed_while_the_program_runs():
    with receiver() as server:
        start(server.url)
        make("json")
        assert obskit.flush()
        start(server.url, zipkin_encoding="proto3")
        make("proto3")
        assert obskit.flush()
        assert json.loads(server.bodies[0])[0]["name"] == "json"
        assert decode_list(server.bodies[1])[0].name == "proto3"


@pytest.mark.parametrize(("name", "kind"), [("json", "application/json"), ("proto3", "application/x-protobuf")])
def test_a_large_body_to_another_host_is_deflated(name, kind):
    with receiver() as server:
        send(server, "0.0.0.0", name, "large", 200)  # this host, by an address that does not say so
        send(server, "127.0.0.1", name, "large", 200)
        deflated, plain = server.bodies
        assert gzip.decompress(deflated) == plain
        assert len(deflated) < len(plain) / 2
        assert [header(head, "content-encoding") for head in server.heads] == ["gzip", None]
        assert [header(head, "content-type") for head in server.heads] == [kind, kind]
        assert [header(head, "b3") for head in server.heads] == ["0", "0"]


def test_a_small_body_is_not_deflated_nor_is_the_header_kept_from_a_large_one():
    with receiver() as server:
        exporter = ZipkinHttpExporter(f"http://0.0.0.0:{server.port}/", lambda span: span, encoding("json"))
        small, large = (Span(trace_id="1" * 16, id="1" * 16, name=name) for name in ("a", "a" * 5000))
        for span in (small, large, small):
            assert exporter.send([exporter.encode(span)], time.monotonic() + 10) is DELIVERED
        exporter.close()
        assert [header(head, "content-encoding") for head in server.heads] == [None, "gzip", None]
        assert json.loads(server.bodies[2]) == [{"traceId": "1" * 16, "id": "1" * 16, "name": "a"}]
        assert server.connections == 1


def test_json_is_not_deflated_where_a_zipkin_server_would_damage_it():
    with receiver() as server:
        send(server, "0.0.0.0", "json", "é", 200)
        send(server, "0.0.0.0", "proto3", "é", 200)
        assert [header(head, "content-encoding") for head in server.heads] == [None, "gzip"]
        assert {span["name"] for span in json.loads(server.bodies[0])} == {"é"}


def test_nothing_is_deflated_that_stays_on_this_host():
    with receiver() as server:
        send(server, "localhost", "json", "large", 200)
    with receiver(family=socket.AF_INET6) as other:
        send(other, "[::1]", "json", "large", 200)
    assert [header(one.heads[0], "content-encoding") for one in (server, other)] == [None, None]
