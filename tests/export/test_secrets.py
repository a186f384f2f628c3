"""What of a span's errors, events and tags leaves the process."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

import obskit
from obskit.base.redaction import MASK
from obskit.instrumentation.tracer import provider
from obskit.logs import formatter
from obskit.logs.entry import EntryBuilder
from tests.export.receiver import receiver

pytestmark = pytest.mark.usefixtures("fresh")

SECRET = "hunter2"
TEXT = f"401 for https://user:{SECRET}@h/x?page={SECRET}: INSERT INTO t VALUES ('{SECRET}')"
SAFE = f"401 for https://{MASK}@h/x?{MASK} INSERT INTO t VALUES (?)"


def make_spans():
    """End a span with a secret in each place where an application or a library may put one."""
    with pytest.raises(ValueError, match="401"), obskit.span("raised"):
        raise ValueError(TEXT)
    with obskit.span("told", password=SECRET, plain="p=q") as told:
        told.annotate(TEXT)
        told.add_event("seen", {"text": TEXT, "api_key": SECRET, "count": 3})
        told.record_exception(ValueError(TEXT))
        told.set_status(Status(StatusCode.ERROR, TEXT))


@pytest.mark.parametrize("encoding", ["json", "proto3"])
def test_zipkin_gets_no_secrets(encoding):
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[], zipkin_encoding=encoding)
        make_spans()
        assert obskit.flush()
        body = b"".join(server.bodies)
    assert SECRET.encode() not in body
    assert b"401 for https://" in body


def test_zipkin_gets_the_rest():
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[])
        make_spans()
        assert obskit.flush()
        raised, told = server.spans
    assert raised["tags"]["error"] == f"ValueError: {SAFE}"
    assert told["tags"] == {"error": SAFE, "otel.status_code": "ERROR", "password": MASK, "plain": "p=q"}
    notes = [note["value"] for note in told["annotations"]]
    assert notes[0] == SAFE
    assert json.loads(notes[1]) == {"seen": {"text": SAFE, "api_key": MASK, "count": 3}}
    assert json.loads(notes[2])["exception"]["exception.message"] == SAFE


def test_opentelemetrys_exporters_get_no_secrets():
    memory = InMemorySpanExporter()
    obskit.init(exporter=memory, integrations=[])
    make_spans()
    assert obskit.flush()
    raised, told = memory.get_finished_spans()
    assert SECRET not in raised.to_json() + told.to_json()
    assert raised.status.description == f"ValueError: {SAFE}"
    assert (told.status.status_code, told.status.description) == (StatusCode.ERROR, SAFE)
    assert dict(told.attributes) == {"password": MASK, "plain": "p=q"}
    assert told.events[0].name == SAFE
    assert dict(told.events[1].attributes) == {"text": SAFE, "api_key": MASK, "count": 3}


def test_opentelemetrys_processors_get_no_secrets():
    seen = []

    class Processor(SpanProcessor):
        def on_end(self, span):
            seen.append(span.to_json())

    obskit.init(exporter="none", integrations=[])
    provider.add_span_processor(Processor())
    make_spans()
    assert len(seen) == 2
    assert SECRET not in "".join(seen)


def test_what_is_secret_is_said_by_the_setting_and_follows_it(monkeypatch):
    monkeypatch.setattr(formatter, "_shared", EntryBuilder())  # restored: it would say so for all later tests
    with receiver() as server:
        for keys in (["iban"], ["vat"]):
            obskit.init(exporter=server.url, integrations=[], mask_keys=keys)
            with obskit.span("paid", iban_number="DE1", vat="5", password="shown"):
                pass
            assert obskit.flush()
        first, second = server.spans
    assert first["tags"] == {"iban_number": MASK, "vat": "5", "password": "shown"}
    assert second["tags"] == {"iban_number": "DE1", "vat": MASK, "password": "shown"}
