"""A span as Zipkin's model has it; what OpenTelemetry adds is mapped as its Zipkin specification says.

Source: opentelemetry-specification, "OpenTelemetry to Zipkin Transformation".
"""

from __future__ import annotations

import ipaddress
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from obskit.export.text import json_text, value_text
from obskit.tracing.span import Span as RecordedSpan
from obskit.zipkin.model import Annotation, Endpoint, Kind, Span

_KINDS: dict[SpanKind, Kind] = {
    SpanKind.CLIENT: "CLIENT",
    SpanKind.SERVER: "SERVER",
    SpanKind.PRODUCER: "PRODUCER",
    SpanKind.CONSUMER: "CONSUMER",
}


_TEXT = {str}


def to_zipkin(span: RecordedSpan, local: Endpoint) -> Span:
    """Return ``span`` in Zipkin's terms: microseconds, names in lower case, every tag as text."""
    start = span.start_ns // 1000
    duration = ((span.end_ns or span.start_ns) - span.start_ns) // 1000
    tags = span.tags
    return Span(
        trace_id=span.trace_id,
        parent_id=span.parent_id,
        id=span.span_id,
        kind=_KINDS.get(span.kind),
        name=span.name.lower() or None,
        timestamp=start,
        duration=max(1, duration),
        local_endpoint=local,
        remote_endpoint=_remote(span.remote_endpoint) if span.remote_endpoint is not None else None,
        annotations=_annotations(span) if span.events else [],
        tags=tags if not span.status_set and _all_text(tags) else _tags(span),  # type: ignore[arg-type]
        debug=span.debug,
    )


def _all_text(tags: dict[str, Any]) -> bool:
    return set(map(type, tags.values())) <= _TEXT


def _tags(span: RecordedSpan) -> dict[str, str]:
    tags = {key: value_text(value) for key, value in span.tags.items()}
    if span.status.status_code is not StatusCode.UNSET:
        tags["otel.status_code"] = span.status.status_code.name
    if span.status.status_code is StatusCode.ERROR:
        tags.setdefault("error", span.status.description or "")
    return tags


def _annotations(span: RecordedSpan) -> list[Annotation]:
    """Return the events, each with its attributes as JSON behind its name; the reference sorts and de-duplicates."""
    found = {Annotation(when // 1000, _event_text(name, attributes)) for when, name, attributes in span.events}
    return sorted(found, key=lambda annotation: (annotation.timestamp, annotation.value))


def _event_text(name: str, attributes: Any) -> str:
    return name if not attributes else json_text({name: attributes})


def _remote(remote: tuple[str, int | None]) -> Endpoint | None:
    host, port = remote
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    ipv4, ipv6 = (str(address), None) if address.version == 4 else (None, str(address))
    return Endpoint(None, ipv4, ipv6, port)
