"""The bridge to OpenTelemetry: its exporters and processors receive our spans as the SDK's own.

Off the request path, and the only module that turns Zipkin's tag names into OpenTelemetry's stable semantic
conventions (https://opentelemetry.io/docs/specs/semconv/http/).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode

from obskit.export.building import no_fork
from obskit.export.exporter import DELIVERED, Outcome
from obskit.export.text import number_text
from obskit.tracing.failures import tell
from obskit.tracing.redaction import Redactor
from obskit.tracing.span import Span
from obskit.tracing.values import error_text

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_TYPICAL_SIZE = 500


_INT64 = range(-(2**63), 2**63)


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
    """Return ``span`` as the SDK's exporters expect it, with secrets masked."""
    redactor = span.tracer.provider.redactor
    tags = redactor.tags(span.tags)
    return ReadableSpan(
        name=_portable(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=resource,
        attributes=_attributes(tags, span.remote_endpoint),
        events=[_event(redactor, *event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=_status(span.status, tags, redactor),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=span.instrumentation_scope,
    )


def _status(status: Status, tags: Mapping[str, Any], redactor: Redactor) -> Status:
    if status.status_code is StatusCode.UNSET and "error" in tags:
        return Status(StatusCode.ERROR, _portable(str(tags["error"])))
    if status.description:
        return Status(status.status_code, redactor.error_text(status.description))
    return status


def _event(redactor: Redactor, when: int, name: str, attributes: Any) -> Event:
    return Event(redactor.error_text(name), _portable_items(redactor.attributes(attributes or {})), when)


def _attributes(tags: Mapping[str, Any], remote: tuple[str, int | None] | None) -> dict[str, Any]:
    """Return the tags by their OpenTelemetry names; the error is the span's status."""
    renamed = (_attribute(key, value) for key, value in tags.items() if key != "error")
    attributes = _portable_items(dict(renamed))
    host, _, port = str(attributes.get("server.address", "")).rpartition(":")
    if host and port.isdecimal():
        attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
    if remote is not None:
        peer = dict(zip(("network.peer.address", "network.peer.port"), remote, strict=True))
        attributes = {**{key: value for key, value in peer.items() if value is not None}, **attributes}
    return attributes


def _attribute(key: str, value: Any) -> tuple[str, Any]:
    name, convert = _RENAMED.get(key, (key, _text))
    return name, convert(value)


def _portable_items(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _portable(value) for key, value in attributes.items()}


def _portable(value: Any) -> Any:
    """Return ``value``, or its like where one exporter or another loses a whole batch over it.

    Those are integers of more than 64 bits, and text with lone surrogates, which UTF-8 cannot hold.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, tuple | list):
        return tuple(_portable(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return number_text(value)
    return value


class OtelExporter:
    """Any OpenTelemetry SpanExporter as one of ours.

    ``make`` makes it when the first batch is sent, and again with the next where it raises; ``name`` is that of the
    destination. ``resource`` describes the process.
    """

    batch_items = 512  # the SDK's own
    batch_bytes = 512 * _TYPICAL_SIZE

    def __init__(self, name: str, make: Callable[[], SpanExporter], resource: Callable[[], Resource]) -> None:
        self._name = name
        self._make = make
        self._exporter: SpanExporter | None = None
        self._resource = resource
        self._told = False

    def encode(self, span: Span) -> ReadableSpan:
        """Return the span as the SDK's own."""
        return to_readable(span, self._resource())

    def size(self, item: ReadableSpan) -> int:  # noqa: ARG002 - only the exporter's own encoding knows
        """Return a typical size."""
        return _TYPICAL_SIZE

    def send(self, items: list[ReadableSpan], deadline: float) -> Outcome:  # noqa: ARG002 - it has its own timeout
        """Export the batch; the exporter retries by itself, if it does."""
        try:
            result = self._ready().export(items)
        except BaseException as error:  # SystemExit too: on this thread nobody else could mean it
            self._tell_raised("export")
            return Outcome("exporter_error", f"the exporter raised {error_text(error)}")
        if result is SpanExportResult.SUCCESS:
            return DELIVERED
        return Outcome("exporter_failed", "the exporter answered FAILURE")

    def close(self) -> None:
        """Shut the exporter down."""
        try:
            if self._exporter is not None:
                self._exporter.shutdown()
        except BaseException:
            self._tell_raised("shutdown")

    def _ready(self) -> SpanExporter:
        if self._exporter is None:
            with no_fork():  # it is imported here
                self._exporter = self._make()
        return self._exporter

    def _tell_raised(self, method: str) -> None:
        """Log the exception being handled, once: it is the exporter's own, so it is no failure of ours."""
        if self._told:
            return
        self._told = True
        if self._exporter is None:
            what = f"the OpenTelemetry exporter {self._name} could not be built"
        else:
            what = f"{method}() of the OpenTelemetry exporter {type(self._exporter).__name__} raised"
        tell(logging.WARNING, "%s; the application is not affected", what, traceback=True)
