"""Ended spans through the queue, the encoder and HTTP to a receiver in another process: CPU time of all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import ALL, Block, Figures, timed
from sides import BARE, OBSKIT, PEER, Delivery, start_obskit, start_peer

TO_HTTP, TO_NOTHING = "to Zipkin over HTTP", "to a null receiver"
SPANS = 1000
TAGS = {"http.method": "GET", "http.path": "/orders/7", "http.route": "/orders/<int:order_id>", "customer": "acme"}


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what hands over a thousand ended spans and waits until they have arrived."""
    if variant == TO_NOTHING:
        return _null()
    flush = start_obskit(f"{receiver}/spans/{OBSKIT}")
    peer = start_peer(f"{receiver}/spans/{PEER}")
    from opentelemetry import trace

    from obskit.instrumentation.tracer import provider

    return {
        OBSKIT: _block(trace.get_tracer("bench"), provider.report, flush, Delivery(OBSKIT, receiver)),
        PEER: _block(
            peer.get_tracer("bench"), peer._active_span_processor.on_end, peer.force_flush, Delivery(PEER, receiver)
        ),
    }


def _block(
    tracer: Any, hand_over: Callable[[Any], None], flush: Callable[[], object], delivery: Delivery | None
) -> Block:
    spans = [_span(tracer) for _ in range(SPANS)]

    def work() -> None:
        for span in spans:
            hand_over(span)

    def block() -> Figures:
        figures = timed(SPANS, work, flush)
        if delivery is not None:
            delivery.check(SPANS)
        return {ALL: figures[ALL]}

    flush()
    if delivery is not None:
        delivery.settle()
    return block


def _span(tracer: Any) -> Any:
    span = tracer.start_span("GET /orders/<int:order_id>", attributes=TAGS)
    span.end()
    return span


def _null() -> dict[str, Block]:
    """Return what makes spans and drops them, and what queues and encodes them for an exporter that drops the bytes."""
    start_obskit("none")
    from time import monotonic

    from opentelemetry import trace

    from obskit.export.delivery.exporter import DELIVERED
    from obskit.export.delivery.pipeline import Limits, Pipeline
    from obskit.export.zipkin.exporters import ZipkinHttpExporter, encoding
    from obskit.export.zipkin.translation import converter
    from obskit.instrumentation.tracer import provider

    class Null(ZipkinHttpExporter):
        def send(self, items: list[bytes], deadline: float) -> Any:
            return DELIVERED

    pipeline = Pipeline(
        "null",
        lambda: Null("http://127.0.0.1:1/", converter("bench"), encoding("json")),
        Limits(capacity=100_000, batch_size=1000, interval=0.5, timeout=10.0),
    )
    tracer = trace.get_tracer("bench")

    def work() -> None:
        for _ in range(SPANS):
            _span(tracer)

    def flush() -> None:
        assert pipeline.flush(monotonic() + 30)

    def block(receive: Callable[[Any], None]) -> Figures:
        provider.report_to(receive)
        return {ALL: timed(SPANS, work, flush)[ALL]}

    return {BARE: lambda: block(lambda _: None), OBSKIT: lambda: block(pipeline.offer)}
