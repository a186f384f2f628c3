"""Both sides in one process, each as its documentation says, with its defaults; neither uses what is the other's."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

BARE, OBSKIT, PEER = "bare", "obskit", "opentelemetry"

Flush = Callable[[], object]


def added(counts: dict[str, int]) -> dict[str, int]:
    """Return what each side adds to the bare one, where there is a bare one."""
    bare = counts.get(BARE, 0)
    return {side: count - bare for side, count in counts.items() if side != BARE}


def start_obskit(exporter: Any) -> Flush:
    """Start obskit's tracing for what a measurement patches; return what delivers everything that was produced.

    ``exporter`` is a URL or a SpanExporter.
    """
    import obskit

    obskit.init(service="bench", exporter=exporter, integrations=[], logs="off")
    return lambda: obskit.flush(30)


def start_peer(exporter: Any) -> Any:
    """Return the peer's TracerProvider, to be given to what it instruments; call it after ``start_obskit``.

    obskit is the process's global provider then, which the peer is not asked for. The global propagator is the peer's,
    which obskit's integrations do not ask for.
    """
    from opentelemetry.exporter.zipkin.json import ZipkinExporter
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.propagators.b3 import B3MultiFormat
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    exporter = ZipkinExporter(endpoint=exporter) if isinstance(exporter, str) else exporter
    provider.add_span_processor(BatchSpanProcessor(exporter))
    set_global_textmap(B3MultiFormat())
    return provider


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
        self._receiver = receiver.rpartition("/")[2]
        self._path = f"/count/{side}"
        self._last = self._count()

    def settle(self) -> None:
        """Forget what has arrived so far."""
        self._last = self._count()

    def check(self, expected: int) -> None:
        """Raise AssertionError unless ``expected`` spans arrived since the last check."""
        now = self._count()
        assert now - self._last == expected, f"{expected} spans were produced, {now - self._last} arrived"
        self._last = now

    def _count(self) -> int:
        connection = HTTPConnection(self._receiver)
        try:
            connection.request("GET", self._path)
            return int(connection.getresponse().read())
        finally:
            connection.close()
