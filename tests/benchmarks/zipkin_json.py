"""Turning one ended span, with five tags and an event, into Zipkin's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from clocks import Block, timed
from sides import OBSKIT, PEER, discard, start_obskit, start_peer

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
    peer = start_peer(discard())
    from opentelemetry import trace

    return {
        OBSKIT: _block(_obskit(), trace.get_tracer("bench")),
        PEER: _block(_peer(), peer.get_tracer("bench")),
    }


def _block(encode: Callable[[list[Any]], str | bytes], tracer: Any) -> Block:
    spans = [_span(tracer) for _ in range(SPANS)]
    _check(json.loads(encode(spans)))
    return lambda: timed(SPANS, lambda: encode(spans))


def _span(tracer: Any) -> Any:
    from opentelemetry.trace import SpanKind

    span = tracer.start_span("GET /orders/<int:order_id>", kind=SpanKind.SERVER)
    span.set_attributes(TAGS)
    span.add_event("cache miss")
    span.end()
    return span


def _obskit() -> Callable[[list[Any]], bytes]:
    from obskit.export.endpoint import local_endpoint
    from obskit.export.zipkin_span import to_zipkin
    from obskit.zipkin.json_v2 import encode_span, join_encoded

    local = local_endpoint("bench")
    return lambda spans: join_encoded([encode_span(to_zipkin(span, local)) for span in spans])


def _peer() -> Callable[[list[Any]], str]:
    from opentelemetry.exporter.zipkin.json.v2 import JsonV2Encoder
    from opentelemetry.exporter.zipkin.node_endpoint import NodeEndpoint

    encoder, local = JsonV2Encoder(), NodeEndpoint()
    return lambda spans: encoder.serialize(spans, local)


def _check(encoded: list[dict[str, Any]]) -> None:
    assert len(encoded) == SPANS
    for span in encoded:
        assert span["kind"] == "SERVER"
        assert span["annotations"][0]["value"].count("cache miss") == 1
        assert span["tags"].items() >= {key: str(value) for key, value in TAGS.items()}.items()
