"""A span as Zipkin's model has it; what OpenTelemetry adds is mapped as its Zipkin specification says.

Source: opentelemetry-specification, "OpenTelemetry to Zipkin Transformation".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from obskit.export.endpoint import local_endpoint
from obskit.export.text import json_text, value_text
from obskit.tracing.redaction import Redactor
from obskit.tracing.span import Span as RecordedSpan
from obskit.zipkin.model import Annotation, Endpoint, Kind, Span

# By value: the hash of an enumeration's member is a call of Python code.
_KINDS: dict[int, Kind] = {
    SpanKind.CLIENT.value: "CLIENT",
    SpanKind.SERVER.value: "SERVER",
    SpanKind.PRODUCER.value: "PRODUCER",
    SpanKind.CONSUMER.value: "CONSUMER",
}

Convert = Callable[[Any], Span]
"""Makes a Zipkin span of what a pipeline carries."""


def converter(service: str) -> Convert:
    """Return what makes Zipkin spans of those that ``service`` recorded on this host."""
    local = local_endpoint(service)
    return lambda span: to_zipkin(span, local)


def to_zipkin(span: RecordedSpan, local: Endpoint) -> Span:
    """Return ``span`` in Zipkin's terms: microseconds, names in lower case, every tag as text, secrets masked."""
    redactor = span.tracer.provider.redactor
    start = span.start_ns // 1000
    duration = ((span.end_ns or span.start_ns) - span.start_ns) // 1000
    return Span(
        trace_id=span.trace_id,
        parent_id=span.parent_id,
        id=span.span_id,
        kind=_KINDS.get(span.kind._value_),
        name=span.name.lower() or None,
        timestamp=start,
        duration=duration if duration > 0 else 1,
        local_endpoint=local,
        remote_endpoint=_remote(span.remote_endpoint) if span.remote_endpoint is not None else None,
        annotations=_annotations(span, redactor) if span.events else [],
        tags=_tags(span, redactor),
        debug=span.debug,
    )


def _tags(span: RecordedSpan, redactor: Redactor) -> dict[str, str]:
    """Return the tags as text: mostly the span's own, since a copy would take a third of the time of all this."""
    tags: Any = span.tags
    ordinary = redactor.ordinary
    for key, value in tags.items():
        if type(value) is not str or key not in ordinary:
            shown = redactor.tags(tags).items()
            tags = {key: value if type(value) is str else value_text(value) for key, value in shown}
            break
    return _with_status(tags, span.status, redactor) if span.status_set else tags


def _with_status(tags: dict[str, str], status: Status, redactor: Redactor) -> dict[str, str]:
    if status.status_code is StatusCode.ERROR:
        tags = {"error": redactor.error_text(status.description or ""), **tags}
    return {**tags, "otel.status_code": status.status_code.name}


def _annotations(span: RecordedSpan, redactor: Redactor) -> list[Annotation]:
    """Return the events, each with its attributes as JSON behind its name; the reference sorts and de-duplicates."""
    found = [Annotation(when // 1000, _event_text(redactor, name, given)) for when, name, given in span.events]
    if len(found) == 1:
        return found
    return sorted(set(found), key=lambda annotation: (annotation.timestamp, annotation.value))


def _event_text(redactor: Redactor, name: str, attributes: Any) -> str:
    name = redactor.error_text(name)
    return name if not attributes else json_text({name: redactor.attributes(attributes)})


def _remote(remote: tuple[str, int | None]) -> Endpoint | None:
    host, port = remote
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    ipv4, ipv6 = (str(address), None) if address.version == 4 else (None, str(address))
    return Endpoint(None, ipv4, ipv6, port)
