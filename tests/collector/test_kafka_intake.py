"""Spans from a real Kafka broker."""

import json
import logging
import struct
import time
from contextlib import contextmanager

import pytest

from obskit.collector.intake import kafka_consumer
from obskit.collector.intake.zipkin import Rejected
from obskit.collector.server import CollectorServer
from obskit.collector.store.database import StoreError
from obskit.export.delivery.exporter import DELIVERED
from obskit.export.zipkin.exporters import encoding
from obskit.export.zipkin.kafka import ZipkinKafkaExporter
from obskit.export.zipkin.kafka_url import KafkaTarget
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.proto3_encode import encode_list
from tests.export.receiver import eventually, free_port

from .conftest import client_of
from .test_cli import finish, start

confluent_kafka = pytest.importorskip("confluent_kafka")
KafkaIntake = kafka_consumer.KafkaIntake

SECOND = b'[{"traceId":"1","id":"2","kind":"SERVER","localEndpoint":{"serviceName":"json-v2"}}]'
FIRST = json.dumps(
    [
        {
            "traceId": "1",
            "id": "2",
            "annotations": [{"timestamp": 1, "value": "sr", "endpoint": {"serviceName": "json-v1"}}],
        }
    ]
).encode()
PROTO3 = encode_list(decode_list(SECOND.replace(b"json-v2", b"proto3")))


def thrift(service):
    """A span that has a server's first annotation, which names its service."""
    endpoint = b"\x0b\0\3" + struct.pack(">i", len(service)) + service + b"\0"
    event = (
        b"\x0a\0\1" + struct.pack(">q", 1) + b"\x0b\0\2" + struct.pack(">i", 2) + b"sr" + b"\x0c\0\3" + endpoint + b"\0"
    )
    ids = b"\x0a\0\1" + struct.pack(">q", 1) + b"\x0a\0\4" + struct.pack(">q", 2)
    return ids + b"\x0f\0\6\x0c" + struct.pack(">i", 1) + event + b"\0"


THRIFT = b"\x0c" + struct.pack(">i", 1) + thrift(b"thrift")
LONE_THRIFT = thrift(b"lone-thrift")
GOOD = {"json-v2": SECOND, "json-v1": FIRST, "proto3": PROTO3, "thrift": THRIFT, "lone-thrift": LONE_THRIFT}
BAD = [b"x", b"hello", b"[{", b"{}", PROTO3[:-1], THRIFT[:-1], LONE_THRIFT[:-1], b"\xff\xff", b"\0\0"]


# --- formats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", GOOD)
def test_a_message_is_read_in_the_format_that_it_has(service):
    (span,), _ = kafka_consumer.read(GOOD[service])
    assert (span.local_endpoint.service_name, span.kind) == (service, "SERVER")


@pytest.mark.parametrize("body", BAD, ids=repr)
def test_what_is_no_list_of_spans_is_refused(body):
    with pytest.raises((Rejected, DecodeError)):
        kafka_consumer.read(body)


# --- without a broker ------------------------------------------------------------------------------------


def test_brokers_that_are_away_are_told_of_and_waited_for(caplog):
    port = free_port()
    with (
        caplog.at_level(logging.WARNING),
        CollectorServer(intakes=[KafkaIntake(f"127.0.0.1:{port}", "t", {})]) as server,
    ):
        eventually(lambda: str(port) in caplog.text, 20)
        client = client_of(server)
        assert client.post(SECOND).status == 202
        health = client.get("/health")
        assert (health.status, health.json["status"]) == (503, "DOWN")
        assert state(health)["details"]["error"]  # whichever librdkafka told last: some name no broker
        assert str(port) in health.text
        assert 'obskit_source_connected{transport="kafka"} 0' in client.get("/prometheus").text


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("b:99999", "port 99999"),
        ("b/t?nosuch.setting=1", "nosuch.setting"),
        ("b?sasl.password=s3cret&acks=s3cret", "acks"),
    ],
)
def test_what_cannot_be_used_is_one_line_without_secrets(flag, said):
    status, _, err = finish("--port", "0", "--kafka", flag)
    assert (status, said in err, "s3cret" in err, len(err.splitlines())) == (2, True, False, 1)


def test_the_command_says_what_it_reads():
    process = start("--port", "0", "--kafka", f"127.0.0.1:{(port := free_port())}/spans?group.id=g")
    try:
        process.stdout.readline()
        said = f"obskit collector takes spans over Kafka, topic spans of 127.0.0.1:{port}\n"
        assert process.stdout.readline() == said
        process.terminate()
        assert process.communicate(timeout=20)[0] == ""
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


# --- a broker --------------------------------------------------------------------------------------------


@contextmanager
def collector(broker, topic, **options):
    """A collector that reads ``topic``, in a group that the topic names."""
    with CollectorServer(intakes=[KafkaIntake(broker.address, topic, {"group.id": topic})], **options) as server:
        yield server, client_of(server)


def produce(broker, topic, *bodies):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
    for body in bodies:
        producer.produce(topic, body)
    assert producer.flush(30) == 0


def services(client):
    return client.get("/api/v2/services").json


def values(client):
    counted = client.get("/metrics").json
    return {name.split(".")[2]: value for name, value in counted.items() if name.endswith(".kafka")}


def state(health):
    """What ``/health`` says of Kafka."""
    (found,) = (part for name, part in health.json["zipkin"]["details"].items() if name.startswith("KafkaCollector{"))
    return found


def span(number):
    return b'[{"traceId":"%x","id":"1","localEndpoint":{"serviceName":"s%d"}}]' % (number, number)


def test_every_format_is_stored_and_what_is_malformed_is_counted_and_left_out(broker, topic):
    produce(broker, topic, *BAD, b"", *GOOD.values())
    with collector(broker, topic) as (_, client):
        eventually(lambda: len(services(client)) == len(GOOD), 30)
        assert services(client) == sorted(GOOD)
        counted = values(client)
        dropped = [counted[name] for name in ("messages", "messages_dropped", "spans", "spans_dropped")]
        assert dropped == [len(BAD) + 1 + len(GOOD), len(BAD), len(GOOD), 0]


@pytest.mark.parametrize("name", ["json", "proto3"])
def test_our_exporter_sends_what_is_read(broker, topic, name):
    exporter = ZipkinKafkaExporter(KafkaTarget(broker.address, topic, {}), lambda span: span, encoding(name))
    spans = [exporter.encode(one) for one in decode_list(SECOND)]
    assert exporter.send(spans, time.monotonic() + 30) == DELIVERED
    exporter.close()
    with collector(broker, topic) as (_, client):
        eventually(lambda: services(client), 30)
        assert client.get("/api/v2/trace/1").json[0]["kind"] == "SERVER"


def test_its_state_is_shown(broker, topic):
    """Connected, how far behind, and what went wrong last."""
    produce(broker, topic, span(1), b"x", span(2))
    with collector(broker, topic) as (_, client):
        eventually(lambda: services(client) == ["s1", "s2"], 30)
        eventually(lambda: state(client.get("/health"))["details"].get("lag") == 0, 30)
        health = client.get("/health")
        last = "a message is left out: a message of one byte"
        assert (health.status, state(health)) == (200, {"status": "UP", "details": {"lag": 0, "lastError": last}})
        shown = {name: value for name, value in client.get("/metrics").json.items() if "obskit_source" in name}
        assert shown == {
            "gauge.obskit_source.connected.kafka": 1,
            "gauge.obskit_source.lag.kafka": 0,
            "counter.obskit_source.troubles.kafka": 1,
        }
        text = client.get("/prometheus").text
        for line in ("obskit_source_connected{", "obskit_source_lag{", "obskit_source_troubles_total{"):
            assert f'{line}transport="kafka"}}' in text


def test_the_lag_is_shown_while_the_store_fails_and_grows(broker, topic):
    produce(broker, topic, span(1))
    failing = []

    def fail(_spans):
        if failing:
            raise StoreError("the disk is full")

    with collector(broker, topic, on_stored=fail) as (_, client):
        eventually(lambda: services(client) == ["s1"], 30)
        failing.append(True)
        produce(broker, topic, span(2))
        eventually(lambda: "disk is full" in state(client.get("/health"))["details"].get("lastError", ""), 30)
        eventually(lambda: state(client.get("/health"))["details"].get("lag") == 1, 30)
        produce(broker, topic, span(3), span(4))
        eventually(lambda: state(client.get("/health"))["details"].get("lag") == 3, 30)
        assert 'obskit_source_lag{transport="kafka"} 3' in client.get("/prometheus").text
        failing.clear()
        eventually(lambda: state(client.get("/health"))["details"].get("lag") == 0, 30)


def test_what_was_stored_is_not_read_again(broker, topic):
    produce(broker, topic, span(1))
    with collector(broker, topic) as (_, client):
        eventually(lambda: services(client) == ["s1"], 30)
    produce(broker, topic, span(2))
    with collector(broker, topic) as (_, client):
        eventually(lambda: services(client) == ["s2"], 30)
        assert values(client)["messages"] == 1


def test_what_could_not_be_stored_is_read_again(broker, topic, caplog):
    tried = []

    def fail(spans):
        tried.append(spans)
        raise StoreError("the disk is full")

    produce(broker, topic, span(1), span(2))
    with caplog.at_level(logging.WARNING), collector(broker, topic, on_stored=fail):
        eventually(lambda: tried, 30)
    assert caplog.text.count("storage failed: the disk is full; messages wait") == 1
    with collector(broker, topic) as (_, client):
        eventually(lambda: services(client) == ["s1", "s2"], 30)


def test_a_store_that_recovers_gets_what_waited_in_order(broker, topic, monkeypatch):
    monkeypatch.setattr(kafka_consumer, "_PAUSE", 0.05)
    stored = []

    def fail_twice(spans):
        stored.append(spans)
        if len(stored) < 2:
            raise StoreError("the disk is full")

    produce(broker, topic, span(1), span(2), span(3))
    with collector(broker, topic, on_stored=fail_twice) as (_, client):
        eventually(lambda: services(client) == ["s1", "s2", "s3"], 30)
        counted = values(client)
        assert [counted[name] for name in ("messages", "spans", "spans_dropped")] == [3, 3, 0]


def test_a_broker_that_hangs_keeps_nothing_else_from_being_done(broker, topic):
    with collector(broker, topic) as (_, client):
        produce(broker, topic, span(1))
        eventually(lambda: services(client), 30)
        with broker.paused():
            assert client.post(SECOND).status == 202
        produce(broker, topic, span(2))
        eventually(lambda: "s2" in services(client), 30)
