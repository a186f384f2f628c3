"""The bridge to OpenTelemetry: its exporters and processors receive our spans as the SDK's own.

Off the request path, and the only module that turns Zipkin's tag names into OpenTelemetry's stable semantic
conventions (https://opentelemetry.io/docs/specs/semconv/http/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode

from obskit.export.exporter import DELIVERED, Outcome
from obskit.tracing.span import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_TYPICAL_SIZE = 500


def _text(value: Any) -> Any:
    return value


def _integer(value: Any) -> Any:
    return int(value) if str(value).isdecimal() else value


_RENAMED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "http.method": ("http.request.method", _text),
    "http.status_code": ("http.response.status_code", _integer),
    "http.path": ("url.path", _text),
    "http.url": ("url.full", _text),
    "http.host": ("server.address", _text),
}


def to_readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return ``span`` as the SDK's exporters expect it."""
    status = span.status
    if status.status_code is StatusCode.UNSET and "error" in span.tags:
        status = Status(StatusCode.ERROR, str(span.tags["error"]))
    attributes = dict(_attribute(key, value) for key, value in span.tags.items() if key != "error")
    host, _, port = str(attributes.get("server.address", "")).rpartition(":")
    if host and port.isdecimal():
        attributes |= {"server.address": host, "server.port": int(port)}
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=resource,
        attributes=attributes,
        events=[Event(name, attributes, when) for when, name, attributes in span.events],
        links=span.links,
        kind=span.kind,
        status=status,
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attribute(key: str, value: Any) -> tuple[str, Any]:
    name, convert = _RENAMED.get(key, (key, _text))
    return name, convert(value)


class OtelExporter:
    """Any OpenTelemetry SpanExporter as one of ours."""

    def __init__(self, exporter: SpanExporter, resource: Callable[[], Resource]) -> None:
        self._exporter = exporter
        self._make_resource = resource
        self._resource: Resource | None = None

    def encode(self, span: Span) -> ReadableSpan:
        """Return the span as the SDK's own."""
        if self._resource is None:
            self._resource = self._make_resource()
        return to_readable(span, self._resource)

    def size(self, item: ReadableSpan) -> int:  # noqa: ARG002 - only the exporter's own encoding knows
        """Return a typical size."""
        return _TYPICAL_SIZE

    def send(self, items: list[ReadableSpan], deadline: float) -> Outcome:  # noqa: ARG002 - it has its own timeout
        """Export the batch; the exporter retries by itself, if it does."""
        if self._exporter.export(items) is SpanExportResult.SUCCESS:
            return DELIVERED
        return Outcome("exporter_failed", "the exporter answered FAILURE")

    def close(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()
