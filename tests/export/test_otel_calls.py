"""No call of OpenTelemetry's API, nor of obskit's own spans, raises, whatever it is given; the span is delivered.

What OpenTelemetry's own SDK makes of the same calls is the oracle for what they mean.
"""

from __future__ import annotations

import enum
import gzip
import itertools
import threading
import time
from collections import OrderedDict, deque
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

import obskit
from obskit.export.cloud_trace.exporter import CloudTraceExporter, parse_url
from obskit.export.zipkin.translation import converter
from obskit.instrumentation.tracer import provider
from obskit.tracing.limits import LimitSettings
from obskit.tracing.provider import TracerProvider
from obskit.tracing.span import keep_to
from obskit.zipkin import json_v2, proto3_encode
from tests.export.receiver import receiver

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture(autouse=True)
def usual_limits():
    yield
    keep_to(LimitSettings())


class Hostile:
    """Raises whatever it is asked."""

    def _raise(self, *_):
        raise ZeroDivisionError("not now")

    __str__ = __repr__ = __len__ = __bool__ = __iter__ = __eq__ = __hash__ = __index__ = __float__ = __call__ = _raise
    __getitem__ = __contains__ = items = keys = values = get = _raise
    __class__ = property(_raise)
    __getattr__ = _raise


class HostileText(str):
    __slots__ = ()
    __str__ = __repr__ = __len__ = __hash__ = __eq__ = Hostile._raise

    def encode(self, *_):
        raise ZeroDivisionError


class HostileMap(dict):
    items = keys = values = __iter__ = __len__ = __getitem__ = Hostile._raise


class Colour(str, enum.Enum):
    RED = "red"


class Broken(Exception):
    __str__ = __repr__ = Hostile._raise


CIRCLE: list = []
CIRCLE.append(CIRCLE)
HOSTILE = [
    None, b"\xff", "", "\udcff", 5, -1, 2**200, float("nan"), float("inf"), True, [], [[1], None], {}, {"a": {1: b"x"}},
    {5: "v"}, {None: 1}, object, object(), Hostile(), HostileText("x"), HostileMap(a=1), Colour.RED, deque([1]), {1, 2},
    range(3), CIRCLE, OrderedDict(a=1), bytearray(b"x"), ValueError("x"), Broken(), ValueError, Link, lambda: 1, ...,
    SpanContext(0, 0, False), Link(SpanContext(1, 2, True), {5: Hostile()}), (item for item in [1]), "x" * 3_000_000,
    list(range(100_000)), StatusCode.ERROR, Status(StatusCode.ERROR, "said"), SpanKind.CLIENT, Context(),
]  # fmt: skip
CALLS = {
    "set_attribute": 2, "set_attributes": 1, "add_event": 3, "add_link": 2, "update_name": 1, "set_status": 2,
    "record_exception": 4, "tag": 2, "annotate": 1, "error": 1,
}  # fmt: skip


def delivered(make):
    """Return what Zipkin and an OpenTelemetry exporter were sent."""
    memory = InMemorySpanExporter()
    with receiver() as server:
        obskit.init(service="s", exporter=[memory, server.url], integrations=[], logs="off")
        make()
        assert obskit.flush(10)
        return server.spans, memory.get_finished_spans()


@pytest.mark.parametrize("call", CALLS)
def test_no_call_of_a_span_raises_and_the_span_arrives_with_its_neighbours(call):
    count = 0

    def make():
        nonlocal count
        for place, value in itertools.product(range(CALLS[call]), HOSTILE):
            arguments = ["x"] * CALLS[call]
            arguments[place] = value
            for sampled in (trace.get_tracer("t").start_span("work"), obskit.current_span()):
                getattr(sampled, call)(*arguments)
                sampled.end()
            count += 1

    zipkin, memory = delivered(make)
    assert (len(zipkin), len(memory)) == (count, count)
    assert encodable_by_otlp(memory)


def encodable_by_otlp(spans) -> bool:
    """Return whether OTLP's encoder takes the whole batch: one value that it does not costs all of it."""
    common = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    return bool(common.encode_spans(spans).SerializeToString())


@pytest.mark.parametrize(
    "argument",
    ["name", "context", "kind", "attributes", "links", "start_time", "record_exception", "set_status_on_exception"],
)
def test_no_argument_of_a_new_span_raises_and_a_span_is_made(argument):
    def make():
        for value in HOSTILE:
            arguments = {"name": "work", argument: value}
            trace.get_tracer("t").start_span(**arguments).end()
            with trace.get_tracer("t").start_as_current_span(**arguments):
                pass
            trace.get_tracer("t").start_span("work", attributes={"key": value}, links=[value, Link(value, value)]).end()

    zipkin, memory = delivered(make)
    assert (len(zipkin), len(memory)) == (3 * len(HOSTILE), 3 * len(HOSTILE))
    assert encodable_by_otlp(memory)


def test_no_argument_of_obskits_own_span_raises():
    def make():
        for value in HOSTILE:
            with obskit.span(value), obskit.span("work", value=value) as span:
                span.tag(value, value)

    zipkin, memory = delivered(make)
    assert (len(zipkin), len(memory)) == (2 * len(HOSTILE), 2 * len(HOSTILE))
    assert encodable_by_otlp(memory)


def test_no_argument_of_a_tracer_or_of_an_end_raises():
    def make():
        for value in HOSTILE:
            for place in range(4):
                arguments = ["x", "1", "http://schema", {}]
                arguments[place] = value
                trace.get_tracer_provider().get_tracer(*arguments).start_span("work").end(value)
            provider.force_flush(value)

    zipkin, memory = delivered(make)
    assert (len(zipkin), len(memory)) == (4 * len(HOSTILE), 4 * len(HOSTILE))
    assert encodable_by_otlp(memory)


# The same calls on OpenTelemetry's SDK

OTHER = SpanContext(1, 2, True)
VALUES = {
    "text": "x", "true": True, "integer": 7, "float": 1.5, "none": None, "bytes": b"\x00\xff", "list": [1, "x", None],
    "map": {"a": {"b": [1, {"c": None}]}}, "maps": [{"a": 1}], "tuple": (1, 2), "empty": [], "enum": Colour.RED,
}  # fmt: skip


def attributes(tracer):
    with tracer.start_as_current_span("given", attributes=VALUES) as span:
        for key, value in VALUES.items():
            span.set_attribute(f"set.{key}", value)
        span.set_attributes({"both": 1, "text": "changed"})
        span.set_attribute("", "no name")


def events(tracer):
    with tracer.start_as_current_span("events") as span:
        span.add_event("plain", timestamp=1)
        span.add_event("with", VALUES, 2)
        span.add_event("none", None, 3)


def links(tracer):
    given = [None, Link(OTHER, {"a": None}), Link(SpanContext(0, 0, False)), Link(SpanContext(0, 0, False), {"a": 1})]
    with tracer.start_as_current_span("links", links=given) as span:
        span.add_link(OTHER, VALUES)
        span.add_link(None)
        span.add_link(SpanContext(0, 0, False))


def statuses(tracer):
    for calls in itertools.product(
        [(StatusCode.OK,), (StatusCode.ERROR, "bad"), (StatusCode.UNSET, "x"), (Status(StatusCode.ERROR, "worse"),),
         (None,), ("ERROR",), (StatusCode.ERROR,), (Status(StatusCode.OK),)], repeat=2,
    ):  # fmt: skip
        span = tracer.start_span("status")
        for call in calls:
            span.set_status(*call)
        span.end()


def exceptions(tracer):
    for start in (tracer.start_span, tracer.start_as_current_span):
        for records, sets in itertools.product([True, False], repeat=2):
            given = {"record_exception": records, "set_status_on_exception": sets}
            with pytest.raises(ValueError, match="bad"), start("raising", **given):
                raise ValueError("bad")
    final = tracer.start_span("OK before")
    final.set_status(StatusCode.OK)
    with pytest.raises(ValueError, match="bad"), final:
        raise ValueError("bad")


def errors(tracer):
    for value in (False, True, "false", "boom"):
        tracer.start_span("error attribute", attributes={"error": value}).end()


def servers(tracer):
    old = {"http.method": "GET", "http.status_code": 404, "http.scheme": "http", "http.target": "/pay"}
    tracer.start_span("old names", kind=SpanKind.SERVER, attributes=old).end()
    for address in ("::1", "fe80::1%eth0", "/run/pay.sock:1", "shop:80", "[::1]:80"):
        tracer.start_span("address", kind=SpanKind.CLIENT, attributes={"server.address": address}).end()


def times(tracer):
    tracer.start_span("times", start_time=5).end(7)


def shown(span):
    """Return all of a span that does not change from run to run."""
    return {
        "name": span.name,
        "kind": span.kind,
        "attributes": dict(span.attributes),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "events": [(each.name, without_stack(each.attributes), each.dropped_attributes) for each in span.events],
        "links": [(each.context, dict(each.attributes), each.dropped_attributes) for each in span.links],
        "status": (span.status.status_code, span.status.description),
        "scope": (span.instrumentation_scope.name, dict(span.instrumentation_scope.attributes)),
        "times": (span.start_time, span.end_time) if span.name == "times" else None,
    }


def without_stack(attributes):
    """Leave out what the two differ in for a reason: the lines of a traceback, and whether it escaped."""
    return {k: v for k, v in attributes.items() if k not in ("exception.stacktrace", "exception.escaped")}


def by_both(make):
    ours, theirs = InMemorySpanExporter(), InMemorySpanExporter()
    obskit.init(service="s", exporter=ours, integrations=[], logs="off")
    sdk = SdkProvider(span_limits=SpanLimits(), shutdown_on_exit=False)
    sdk.add_span_processor(SimpleSpanProcessor(theirs))
    for each in (provider, sdk):
        make(each.get_tracer("library", "1.0", attributes={"tenant": "shop", "shards": [1, 2]}))
    assert obskit.flush()
    return [[shown(span) for span in memory.get_finished_spans()] for memory in (ours, theirs)]


@pytest.mark.parametrize("make", [attributes, events, links, statuses, exceptions, errors, servers, times])
def test_exporters_get_what_the_sdk_gives_them_for_the_same_calls(make):
    ours, theirs = by_both(make)
    assert theirs
    assert ours == theirs


def crowd(tracer):
    many = {f"key {number}": "x" * 20 for number in range(9)}
    with tracer.start_as_current_span("crowded", attributes=many, links=[Link(OTHER, many)] * 9) as span:
        for key, value in many.items():
            span.set_attribute(f"more {key}", [value, value])
            span.add_event(key, many, 1)
            span.add_link(OTHER, {key: value})


@pytest.mark.parametrize("most", [0, 1, 5, 9, 100])
def test_limits_leave_out_what_the_sdk_leaves_out_and_exporters_see_how_much(most, monkeypatch):
    for name in ("SPAN_ATTRIBUTE", "SPAN_EVENT", "SPAN_LINK", "EVENT_ATTRIBUTE", "LINK_ATTRIBUTE"):
        monkeypatch.setenv(f"OTEL_{name}_COUNT_LIMIT", str(most))
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "12")
    ours, theirs = by_both(crowd)
    assert ours == theirs


class Watching(SpanProcessor):
    def __init__(self):
        self.seen = []

    def on_start(self, span, parent_context=None):
        self.seen.append((parent_context, dict(span.attributes), len(span.links), span.start_time, span.kind))


def test_a_processor_sees_a_new_span_with_all_it_was_given_and_the_context_it_was_started_in():
    watching, theirs = Watching(), Watching()
    obskit.init(exporter="none", integrations=[], logs="off")
    sdk = SdkProvider(shutdown_on_exit=False)
    for each, processor in ((provider, watching), (sdk, theirs)):
        each.add_span_processor(processor)
        given = {"attributes": {"a": 1}, "links": [Link(OTHER)], "start_time": 5, "kind": SpanKind.CONSUMER}
        for context in (Context({"tenant": "acme"}), Context()):
            each.get_tracer("library").start_span("a", context=context, **given).end()
            with each.get_tracer("library").start_as_current_span("a", context=context, **given):
                pass
    assert watching.seen == theirs.seen
    assert len(watching.seen) == 4


def test_an_interrupted_block_is_no_error_in_either_form():
    def make():
        for start in (trace.get_tracer("t").start_span, trace.get_tracer("t").start_as_current_span):
            with pytest.raises(KeyboardInterrupt), start("interrupted"):
                raise KeyboardInterrupt

    _, spans = delivered(make)
    assert [(span.status.status_code, span.events) for span in spans] == [(StatusCode.UNSET, ())] * 2


def test_zipkin_gets_bytes_in_base64_maps_as_json_and_nothing_for_none():
    def make():
        trace.get_tracer("t").start_span("a", attributes={**VALUES, "big": bytearray(b"abc")}).end()

    ((span,), _) = delivered(make)
    assert {key: span["tags"][key] for key in ("bytes", "map", "list", "none", "big")} == {
        "bytes": "AP8=", "map": '{"a":{"b":[1,{"c":null}]}}', "list": '[1,"x",null]', "none": "", "big": "YWJj",
    }  # fmt: skip


def test_an_attribute_that_says_no_error_is_none_to_zipkin_and_a_status_wins_over_an_attribute():
    def make():
        for value in (False, "false", True):
            trace.get_tracer("t").start_span(f"{value!r}", attributes={"error": value}).end()
        for value in (False, "attribute"):
            with trace.get_tracer("t").start_as_current_span("status", attributes={"error": value}) as span:
                span.set_status(StatusCode.ERROR, "status")

    spans, _ = delivered(make)
    assert [span.get("tags", {}).get("error") for span in spans] == [None, None, "true", "status", "status"]


def test_a_value_that_is_changed_later_stays_as_it_was():
    given = {"map": {"a": [1]}, "list": [{"b": 1}]}

    def make():
        with obskit.span("a", **given):
            given["map"]["a"].append(2)
            given["list"][0]["b"] = 2

    _, (span,) = delivered(make)
    assert dict(span.attributes) == {"map": {"a": (1,)}, "list": ({"b": 1},)}


def test_one_giant_value_costs_neither_its_span_nor_other_values():
    def make():
        with obskit.span("a", numbers=list(range(1_000_000)), text="x" * 100_000_000, good=1) as span:
            span.annotate("y" * 100_000_000)

    (zipkin,), (span,) = delivered(make)
    assert span.attributes["good"] == 1
    assert span.attributes["numbers"][:3] == (0, 1, 2)
    assert len(zipkin["tags"]["numbers"]) + len(zipkin["tags"]["text"]) < 3_000_000


def test_a_value_that_is_replaced_again_and_again_weighs_once():
    def make():
        with obskit.span("a") as span:
            for _ in range(200):
                span.tag("state", "x" * 1_000_000)

    zipkin, _ = delivered(make)
    assert len(zipkin) == 1


@pytest.mark.parametrize("given", [-1, 2**64, "yesterday", None, float("nan")])
def test_what_is_no_time_is_left_out(given):
    def make():
        span = trace.get_tracer("t").start_span("a", start_time=given)
        span.add_event("e", timestamp=given)
        span.end(given)

    (zipkin,), (span,) = delivered(make)
    assert zipkin["timestamp"] > 10**15
    assert 10**18 < span.start_time <= span.events[0].timestamp <= span.end_time


def test_secrets_are_masked_wherever_a_span_holds_them():
    secret = {
        "password": "hunter2", "url.full": "http://bob:hunter2@shop/pay?token=hunter2", "url.query": "a=hunter2",
        "nested": {"password": ["hunter2"], "deep": [{"api_key": b"hunter2"}]}, "url.fragment": "hunter2",
        "http.request.header.referer": ["http://shop/?code=hunter2"], "bytes.secret": b"hunter2",
    }  # fmt: skip

    def make():
        tracer = provider.get_tracer("t", attributes=secret)
        with tracer.start_as_current_span("a", attributes=secret, links=[Link(OTHER, secret)]) as span:
            span.set_attributes({"nested": {}})
            span.set_attributes(secret)
            span.add_event("e", secret)
            span.add_link(OTHER, secret)

    (zipkin,), (span,) = delivered(make)
    sent = [span.attributes, span.instrumentation_scope.attributes, *(each.attributes for each in span.events)]
    sent += [each.attributes for each in span.links]
    assert [set(each) for each in sent] == [set(secret)] * 5
    assert "hunter2" not in str([dict(each) for each in sent])
    assert "hunter2" not in str(zipkin)


def test_lone_surrogates_are_replaced_in_every_text_of_a_span():
    bad = {"\udcff key": ["\udcff", {"\udcff": "\udcff"}]}

    def make():
        tracer = provider.get_tracer("\udcff", "\udcff", "\udcff", bad)
        with tracer.start_as_current_span("\udcff", attributes=bad, links=[Link(OTHER, bad)]) as span:
            span.add_event("\udcff", bad)
            span.set_status(StatusCode.ERROR, "\udcff")

    _, spans = delivered(make)
    assert "?" in spans[0].name
    assert encodable_by_otlp(spans)


def test_the_cost_of_events_and_links_grows_with_their_number_alone():
    """Counted in lines that run, which a busy machine does not change."""
    import sys

    def lines(count):
        span = trace.get_tracer("t").start_span("a")
        ran = 0

        def tracing(_frame, event, _argument):
            nonlocal ran
            ran += event == "line"
            return tracing

        sys.settrace(tracing)
        try:
            for _ in range(count):
                span.add_event("tick")
                span.add_link(OTHER)
        finally:
            sys.settrace(None)
        return ran

    obskit.init(exporter="none", integrations=[], logs="off")
    lines(1)
    assert lines(2000) < 11 * lines(200)
    span = trace.get_tracer("t").start_span("a")
    for _ in range(1000):
        span.add_event("tick")
    assert len(span.events) == 128


def test_every_other_destination_encodes_such_spans_too():
    """Zipkin's JSON and protobuf, and Cloud Trace; where one could not, the span alone would be lost."""
    ended: list = []
    alone = TracerProvider()
    alone.report = ended.append
    tracer = alone.get_tracer("t")
    for value, call in itertools.product(HOSTILE, CALLS):
        span = tracer.start_span(value, attributes={"key": value}, links=[value], start_time=value)
        getattr(span, call)(*[value] * CALLS[call])
        span.end(value)
    cloud = CloudTraceExporter(parse_url("cloudtrace://project", {}), converter("s"))
    for span in ended:
        made = converter("s")(span)
        assert json_v2.encode_span(made)
        assert proto3_encode.encode_span(made)
        assert cloud.encode(span) or span.start_ns < time.time_ns() - 10**15, "too old for Cloud Trace"
    assert len(ended) == len(HOSTILE) * len(CALLS)


class Otlp(BaseHTTPRequestHandler):
    """A server of OTLP over HTTP that keeps the names of the spans it is sent."""

    def do_POST(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:1] == b"\x1f" else body)
        for resource in request.resource_spans:
            self.server.names += [span.name for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_real_otlp_server_gets_the_whole_batch_with_the_odd_spans_in_it(monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    with HTTPServer(("127.0.0.1", 0), Otlp) as server:
        server.names = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{server.server_port}/v1/traces")
        obskit.init(service="s\udcff", exporter="otel:otlp_proto_http", integrations=[], logs="off")
        for value in HOSTILE:
            with trace.get_tracer("t").start_as_current_span("odd", attributes={"key": value}, links=[value]) as span:
                span.add_event(value, {"key": value})
            trace.get_tracer("t").start_span("good").end()
        assert obskit.flush(20)
        obskit.shutdown()
        server.shutdown()
    assert sorted(server.names) == ["good"] * len(HOSTILE) + ["odd"] * len(HOSTILE)
