"""Handing one ended span to the exporting thread: the time this takes on the application's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import Block, Figures, timed
from sides import OBSKIT, PEER, discard, start_obskit, start_peer

SPANS = 500


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what hands over a block of spans."""
    flush = start_obskit(discard())
    peer = start_peer(discard())
    from opentelemetry import trace

    from obskit.instrumentation.tracer import provider

    return {
        OBSKIT: _block(trace.get_tracer("bench"), provider.report, flush),
        PEER: _block(peer.get_tracer("bench"), peer._active_span_processor.on_end, peer.force_flush),
    }


def _block(tracer: Any, hand_over: Callable[[Any], None], flush: Callable[[], object]) -> Block:
    span = tracer.start_span("charge")
    span.end()

    def work() -> None:
        for _ in range(SPANS):
            hand_over(span)

    def block() -> Figures:
        figures = timed(SPANS, work)
        assert flush()
        return figures

    return block
