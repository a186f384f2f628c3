"""A span made through OpenTelemetry's API, the exporter dropping it: what manual instrumentation costs its thread."""

from __future__ import annotations

from collections.abc import Callable

from clocks import Figures, timed
from sides import discard, start

BARE_SPAN, CURRENT_SPAN = "start and end", "as current span"
SPANS = 2000


def prepare(side: str, variant: str, receiver: str) -> Callable[[], Figures]:
    """Return what makes a round of spans; what the worker then does with them is not part of it."""
    flush = start(side, receiver, exporter=discard())
    from opentelemetry import trace

    tracer = trace.get_tracer("bench")

    def bare() -> None:
        for _ in range(SPANS):
            tracer.start_span("charge").end()

    def current() -> None:
        for _ in range(SPANS):
            with tracer.start_as_current_span("charge"):
                pass

    def do_round() -> Figures:
        figures = timed(SPANS, bare if variant == BARE_SPAN else current)
        assert flush()
        return figures

    return do_round
