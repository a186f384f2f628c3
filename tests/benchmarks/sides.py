"""How each side is set up: as its own documentation says, with its defaults."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

BARE, OBSKIT, PEER = "bare", "obskit", "opentelemetry"

Flush = Callable[[], object]


def start(side: str, receiver: str, *instrumented: str, exporter: Any = None) -> Flush:
    """Start tracing in this process as ``side`` does it; return what delivers everything that was produced.

    ``instrumented`` are the libraries to trace. Spans go to the receiver, or to ``exporter`` (a SpanExporter).
    """
    if side == OBSKIT:
        import obskit

        obskit.init(service="bench", exporter=exporter or f"{receiver}/{side}", integrations=list(instrumented))
        return lambda: obskit.flush(30)
    if side == PEER:
        return _start_peer(f"{receiver}/{side}", instrumented, exporter)
    return lambda: True


def _start_peer(url: str, instrumented: tuple[str, ...], exporter: Any) -> Flush:
    from opentelemetry import trace
    from opentelemetry.exporter.zipkin.json import ZipkinExporter
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.propagators.b3 import B3MultiFormat
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(BatchSpanProcessor(exporter or ZipkinExporter(endpoint=url)))
    trace.set_tracer_provider(provider)
    set_global_textmap(B3MultiFormat())
    if "flask" in instrumented:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        FlaskInstrumentor().instrument()
    if "requests" in instrumented:
        from opentelemetry.instrumentation.requests import RequestsInstrumentor

        RequestsInstrumentor().instrument()
    return provider.force_flush


def discard() -> Any:
    """Return a SpanExporter that drops what it is given."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Discard(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    return Discard()


class Delivery:
    """Checks, outside of what is timed, that the receiver got what the side was paid for."""

    def __init__(self, side: str, receiver: str) -> None:
        self._url = f"{receiver}/count/{side}"
        self._last = self._count()

    def check(self, expected: int) -> None:
        """Raise AssertionError unless ``expected`` spans arrived since the last check."""
        now = self._count()
        assert now - self._last == expected, f"{expected} spans were produced, {now - self._last} arrived"
        self._last = now

    def _count(self) -> int:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self._url) as response:
            return int(response.read())
