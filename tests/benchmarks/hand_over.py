"""Handing one ended span to the exporting thread: the time this takes on the application's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import Figures, timed
from sides import OBSKIT, discard, start

SPANS = 2000


def prepare(side: str, variant: str, receiver: str) -> Callable[[], Figures]:
    """Return what hands over a round of spans."""
    flush = start(side, receiver, exporter=discard())
    from opentelemetry import trace

    hand_over = _obskit() if side == OBSKIT else trace.get_tracer_provider()._active_span_processor.on_end
    span = trace.get_tracer("bench").start_span("charge")
    span.end()
    assert flush()

    def work() -> None:
        for _ in range(SPANS):
            hand_over(span)

    def do_round() -> Figures:
        figures = timed(SPANS, work)
        assert flush()
        return figures

    return do_round


def _obskit() -> Callable[[Any], None]:
    from obskit.instrumentation.tracer import provider

    return provider.report
