"""The bridge to OpenTelemetry: its exporters and processors receive obskit's spans in the form of the SDK's.

Off the request path, and the only module that turns Zipkin's tag names into OpenTelemetry's stable semantic
conventions (https://opentelemetry.io/docs/specs/semconv/http/).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from obskit.base.failures import tell
from obskit.base.fork_lock import no_fork
from obskit.base.redaction import Redactor
from obskit.base.values import encodable, error_text, is_error
from obskit.export.delivery.exporter import DELIVERED, Outcome
from obskit.export.zipkin.translation import number_text
from obskit.tracing.details import Event as Given
from obskit.tracing.details import bounded
from obskit.tracing.span import Span
from obskit.tracing.tracer import OWN_SCOPE

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_TYPICAL_SIZE = 500


_INT64 = range(-(2**63), 2**63)
_UNSET = Status()


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
    "grpc.status_code": ("rpc.response.status_code", _text),
}
"""The tags of obskit's own integrations, except ``http.route`` and RPC's, which have the same names in both."""


def to_readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return ``span`` in the form that the SDK's exporters expect, with secrets masked, and only encodable values."""
    redactor = span.tracer.provider.redactor
    tags = redactor.tags(span.tags, span.mixed)
    return ReadableSpan(
        name=encodable(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=resource,
        attributes=_counted(_attributes(span, tags), span.dropped_attributes + ("" in tags)),
        events=_bounded([_event(redactor, each) for each in span.events], span.dropped_events),
        links=_bounded([_link(redactor, each) for each in span.links], span.dropped_links),
        kind=span.kind,
        status=_status(span, tags, redactor),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=span.instrumentation_scope,
    )


def _status(span: Span, tags: Mapping[str, Any], redactor: Redactor) -> Status:
    """Return OpenTelemetry's status; if none was set, that of the ``error`` tag of a span of obskit."""
    status = span.status
    if status.status_code is not StatusCode.UNSET:
        return Status(status.status_code, encodable(redactor.error_text(status.description or "")) or None)
    error = tags.get("error")
    if not is_error(error) or not (span.failed or _is_ours(span)):
        return _UNSET
    code = str(tags.get("http.status_code", ""))
    if span.kind is SpanKind.SERVER and code.startswith("4"):  # the caller's error, according to the specification
        return _UNSET
    return Status(StatusCode.ERROR, None if error == code else encodable(str(error)))


def _is_ours(span: Span) -> bool:
    """Return whether obskit's own tracer made it: the tags then have Zipkin's names and meaning."""
    return span.tracer.name == OWN_SCOPE


def _event(redactor: Redactor, given: Given) -> Event:
    attributes = _portable_items(redactor.attributes(given.attributes or {}))
    name = encodable(redactor.error_text(given.name))
    return Event(name, _counted(attributes, given.dropped_attributes), given.timestamp)


def _link(redactor: Redactor, given: Link) -> Link:
    attributes = _portable_items(redactor.attributes(given.attributes or {}))
    return Link(given.context, _counted(attributes, given.dropped_attributes))


def _bounded(kept: list[Any], dropped: int) -> Sequence[Any]:
    """Return ``kept`` as what tells exporters how many were left out."""
    if not dropped:
        return kept
    made = BoundedList.from_seq(None, kept)
    made.dropped = dropped
    return made


def _counted(attributes: dict[str, Any], dropped: int) -> Mapping[str, Any]:
    return bounded(attributes, dropped) if dropped else attributes


def _attributes(span: Span, tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags: those of our integrations by OpenTelemetry's names, others as they were given."""
    attributes = _renamed(tags) if _is_ours(span) else dict(tags)
    if span.failed or (_is_ours(span) and type(attributes.get("error")) is str):
        attributes.pop("error", None)  # it is the span's status
    remote = span.remote_endpoint
    if remote is not None:
        called = span.kind is SpanKind.CLIENT
        names = ("server.address", "server.port") if called else ("network.peer.address", "network.peer.port")
        peer = dict(zip(names, remote, strict=True))
        attributes = {**{key: value for key, value in peer.items() if value is not None}, **attributes}
    return _portable_items(attributes)


def _renamed(tags: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for key, value in tags.items():
        name, convert = _RENAMED.get(key, (key, _text))
        if name == key or name not in tags:
            attributes[name] = convert(value)
    if "rpc.service" in tags and "rpc.method" in tags:
        del attributes["rpc.service"]
        attributes["rpc.method"] = f"{tags['rpc.service']}/{tags['rpc.method']}"
    if "http.host" in tags and "server.address" not in tags:
        host, _, port = str(tags["http.host"]).rpartition(":")
        if host and port.isdecimal():
            attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
    return attributes


def _portable_items(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {encodable(key): _portable(value) for key, value in attributes.items() if key}


def _portable(value: Any) -> Any:
    """Return ``value``, or a replacement if some exporters would lose a whole batch over it.

    These are integers of more than 64 bits, and text with lone surrogates, which UTF-8 cannot encode.
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, tuple | list):
        return tuple(_portable(item) for item in value)
    if isinstance(value, dict):
        return _portable_items(value)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return number_text(value)
    return value


class OtelExporter:
    """An OpenTelemetry SpanExporter as an exporter of obskit.

    ``make`` makes it when the first batch is sent, and is called again for the next if it raises; ``name`` is that of
    the destination. ``resource`` describes the process.
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
        except BaseException as error:  # SystemExit too: on this thread no other code could mean it
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
        """Log the exception being handled, once: it is the exporter's own failure, not obskit's."""
        if self._told:
            return
        self._told = True
        if self._exporter is None:
            what = f"the OpenTelemetry exporter {self._name} could not be built"
        else:
            what = f"{method}() of the OpenTelemetry exporter {type(self._exporter).__name__} raised"
        tell(logging.WARNING, "%s; the application is not affected", what, traceback=True)
