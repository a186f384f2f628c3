"""The real Zipkin server: what each form of exporter sends it comes back the same, field by field."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

import obskit
from obskit.export.delivery.exporter import DELIVERED, Exporter
from obskit.export.zipkin.exporters import ZipkinGrpcExporter, ZipkinHttpExporter, encoding
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.model import Annotation, Endpoint, Span
from tests import zipkin_server
from tests.export.receiver import eventually

# The host 0.0.0.0 is this one, by an address that does not say so: large bodies to it are deflated.
FORMS = {
    "json": ("http://127.0.0.1:{}/api/v2/spans", "json"),
    "json deflated": ("http://0.0.0.0:{}/api/v2/spans", "json"),
    "proto3": ("http://127.0.0.1:{}/api/v2/spans", "proto3"),
    "proto3 deflated": ("http://0.0.0.0:{}/api/v2/spans", "proto3"),
    "grpc": ("grpc://127.0.0.1:{}", ""),
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ExitStack() as stack:
        try:
            yield stack.enter_context(zipkin_server.running())
        except zipkin_server.Unavailable as error:
            pytest.skip(f"no Zipkin server: {error}")


def exporter(form: str, port: int) -> Exporter:
    url, name = (text.format(port) for text in FORMS[form])
    if form == "grpc":
        return ZipkinGrpcExporter(f"127.0.0.1:{port}", False, lambda span: span)
    return ZipkinHttpExporter(url, lambda span: span, encoding(name))


def trace(port: int, trace_id: str) -> list[Span]:
    """Return what the server has of a trace, sorted by id."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/trace/{trace_id}") as answer:
            return sorted(decode_list(answer.read()), key=lambda span: (span.id, span.shared))
    except urllib.error.HTTPError as error:
        error.close()
        return []


def spans_of_every_kind(trace_id: str, moment: int, text: str) -> list[Span]:
    make = partial(Span, trace_id=trace_id, timestamp=moment)
    shop = Endpoint("shop", "10.0.0.1", None, 8080)
    full = make(
        id="000000000000000a",
        kind="CLIENT",
        name="get /orders/{id}",
        duration=2**40,
        local_endpoint=shop,
        remote_endpoint=Endpoint("orders", "10.0.0.2", "2001:db8::1:1:1:1:1", 65535),
        annotations=[
            Annotation(moment, "ws"),
            Annotation(moment + 1, "x" * 300),
            Annotation(moment + 1, text),
        ],
        tags={"error": "", "http.path": "/orders/1", "long": text * 5000, "quoted": '"\\\n', text: text},
        debug=True,
    )
    shared = make(id=full.id, parent_id=None, kind="SERVER", duration=1, local_endpoint=Endpoint("orders"), shared=True)
    others = [make(id=f"{number:016x}", parent_id=full.id, local_endpoint=shop) for number in range(16, 216)]
    return [full, shared, make(id="000000000000000b", parent_id=full.id, kind="PRODUCER"), *others]


@pytest.mark.parametrize("text", ["~", "é", "日", "\U0001f600"], ids=["one byte", "two bytes", "three", "four"])
@pytest.mark.parametrize("form", FORMS)
def test_spans_of_every_kind_come_back_as_they_were_sent(form, text, port):
    trace_id = f"{1 + list(FORMS).index(form):016x}{ord(text):016x}"
    spans = spans_of_every_kind(trace_id, time.time_ns() // 1000, text)
    one = exporter(form, port)
    try:
        assert one.send([one.encode(span) for span in spans], time.monotonic() + 30) is DELIVERED
    finally:
        one.close()
    expected = sorted(spans, key=lambda span: (span.id, span.shared))
    eventually(lambda: len(trace(port, trace_id)) == len(spans), 30)
    assert trace(port, trace_id) == expected


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("form", FORMS)
def test_a_program_is_seen_in_zipkin(form, port):
    url, name = (text.format(port) for text in FORMS[form])
    service = f"service-{form.replace(' ', '-')}"
    options = {"zipkin_encoding": name} if name else {}
    obskit.init(service=service, exporter=url, integrations=[], **options)
    with obskit.span("Parent", number=7, flag=True) as parent:
        for _ in range(50):
            with obskit.span("child") as child:
                child.annotate("here")
        trace_id = f"{parent.get_span_context().trace_id:032x}".removeprefix("0" * 16)
    assert obskit.flush(30)
    assert obskit.stats()["exporters"][0]["delivered"] == 51
    found = eventually(lambda: len(spans := trace(port, trace_id)) == 51 and spans, 30)
    (root,) = [span for span in found if span.parent_id is None]
    assert (root.name, root.tags, root.local_endpoint.service_name) == (
        "parent",
        {"flag": "true", "number": "7"},
        service,
    )
    children = [span for span in found if span is not root]
    assert {span.parent_id for span in children} == {root.id}
    assert {note.value for span in children for note in span.annotations} == {"here"}
    assert all(root.timestamp <= span.timestamp and 1 <= span.duration <= root.duration for span in children)
