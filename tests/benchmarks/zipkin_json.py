"""Turning one ended span, with five tags and an event, into Zipkin's JSON, or its proto3."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from clocks import Block, timed
from sides import OBSKIT, PEER, discard, start_obskit, start_peer

PROTO3 = "proto3"
JSON = "obskit's JSON"
SPANS = 500
TAGS = {
    "http.method": "GET",
    "http.path": "/orders/7",
    "http.route": "/orders/<int:order_id>",
    "http.status_code": 200,
    "customer": "acme",
}


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what encodes the same spans again and again, after a look at what comes out."""
    start_obskit(discard())
    if variant == PROTO3:
        return {OBSKIT: _block(_obskit_proto3(), _check_proto3, _tracer()), JSON: _block(_obskit(), _check, _tracer())}
    peer = start_peer(discard())
    return {
        OBSKIT: _block(_obskit(), _check, _tracer()),
        PEER: _block(_peer(), _check, peer.get_tracer("bench")),
    }


def _tracer() -> Any:
    from opentelemetry import trace

    return trace.get_tracer("bench")


def _block(encode: Callable[[list[Any]], Any], check: Callable[[Any], None], tracer: Any) -> Block:
    spans = [_span(tracer) for _ in range(SPANS)]
    check(encode(spans))
    return lambda: timed(SPANS, lambda: encode(spans))


def _span(tracer: Any) -> Any:
    from opentelemetry.trace import SpanKind

    span = tracer.start_span("GET /orders/<int:order_id>", kind=SpanKind.SERVER)
    span.set_attributes(TAGS)
    span.add_event("cache miss")
    span.end()
    return span


def _obskit() -> Callable[[list[Any]], bytes]:
    from obskit.export.zipkin.translation import local_endpoint, to_zipkin
    from obskit.zipkin.json_v2 import encode_span, join_encoded

    local = local_endpoint("bench")
    return lambda spans: join_encoded([encode_span(to_zipkin(span, local)) for span in spans])


def _obskit_proto3() -> Callable[[list[Any]], bytes]:
    from obskit.export.zipkin.translation import local_endpoint, to_zipkin
    from obskit.zipkin.proto3_encode import encode_span

    local = local_endpoint("bench")
    return lambda spans: b"".join([encode_span(to_zipkin(span, local)) for span in spans])


def _peer() -> Callable[[list[Any]], str]:
    from opentelemetry.exporter.zipkin.json.v2 import JsonV2Encoder
    from opentelemetry.exporter.zipkin.node_endpoint import NodeEndpoint

    encoder, local = JsonV2Encoder(), NodeEndpoint()
    return lambda spans: encoder.serialize(spans, local)


def _check(body: str | bytes) -> None:
    encoded = json.loads(body)
    assert len(encoded) == SPANS
    for span in encoded:
        assert span["kind"] == "SERVER"
        assert span["annotations"][0]["value"].count("cache miss") == 1
        assert span["tags"].items() >= {key: str(value) for key, value in TAGS.items()}.items()


def _check_proto3(body: bytes) -> None:
    from obskit.zipkin.json_v2 import encode_list
    from obskit.zipkin.proto3_decode import decode_list

    _check(encode_list(decode_list(body)))
