"""A span made through OpenTelemetry's API, the exporter dropping it: what manual instrumentation costs its thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import Block, timed
from sides import OBSKIT, PEER, discard, start_obskit, start_peer

BARE_SPAN, CURRENT_SPAN = "start and end", "as current span"
SPANS = 500


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what makes a block of spans; what the worker then does with them is not part of it."""
    flush = start_obskit(discard())
    peer = start_peer(discard())
    from opentelemetry import trace

    return {
        OBSKIT: _block(trace.get_tracer("bench"), variant, flush),
        PEER: _block(peer.get_tracer("bench"), variant, peer.force_flush),
    }


def _block(tracer: Any, variant: str, flush: Callable[[], object]) -> Block:
    def bare() -> None:
        for _ in range(SPANS):
            tracer.start_span("charge").end()

    def current() -> None:
        for _ in range(SPANS):
            with tracer.start_as_current_span("charge"):
                pass

    def block() -> dict[str, float]:
        figures = timed(SPANS, bare if variant == BARE_SPAN else current)
        assert flush()
        return figures

    return block
