"""Turning one ended span, with five tags and an event, into Zipkin's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from clocks import Figures, timed
from sides import OBSKIT, start

SPANS = 500
ROUNDS_OF = 4
TAGS = {
    "http.method": "GET",
    "http.path": "/orders/7",
    "http.route": "/orders/<int:order_id>",
    "http.status_code": 200,
    "customer": "acme",
}


def prepare(side: str, variant: str, receiver: str) -> Callable[[], Figures]:
    """Return what encodes the same spans a few times over, after a look at what comes out."""
    start(side, receiver)
    spans = [_span() for _ in range(SPANS)]
    encode = _obskit() if side == OBSKIT else _peer()
    _check(json.loads(encode(spans)))

    def do_round() -> Figures:
        return timed(SPANS * ROUNDS_OF, lambda: [encode(spans) for _ in range(ROUNDS_OF)])

    return do_round


def _span() -> Any:
    from opentelemetry import trace

    span = trace.get_tracer("bench").start_span("GET /orders/<int:order_id>", kind=trace.SpanKind.SERVER)
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
