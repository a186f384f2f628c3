"""Spans that OpenTelemetry's exporters send, as Zipkin's model has them.

Source: ``trace/v1/trace.proto`` (opentelemetry-proto), in the form that it has in JSON, and the specification's
"OpenTelemetry to Zipkin Transformation". What Zipkin's model has no place for (links, resource, scope) becomes tags.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from obskit.zipkin.addresses import parse_ip
from obskit.zipkin.decoding import TooLarge, check_number, check_parts, finish_span
from obskit.zipkin.model import Endpoint, Span

_KINDS = {2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_KIND_NAMES = {f"SPAN_KIND_{name}": name for name in _KINDS.values()}
_STATUS = {1: "OK", 2: "ERROR", "STATUS_CODE_OK": "OK", "STATUS_CODE_ERROR": "ERROR"}
_PEERS = ("peer.service", "server.address", "net.peer.name", "network.peer.address", "net.sock.peer.addr")
_ADDRESSES = ("network.peer.address", "net.sock.peer.addr", "net.peer.ip", "server.address")
_PORTS = ("server.port", "net.peer.port", "network.peer.port", "net.sock.peer.port")
_MAX_LONG = 2**63 - 1
_MAX_PORT = 65535
MOST_COPIED = 64 * 1024 * 1024  # bytes that a message's resources and scopes take, copied to each of their spans
_TAG_SIZE = 50  # bytes of a tag besides its text
_is_trace_id = re.compile("(?!0{32})[0-9a-f]{32}").fullmatch
_is_port = re.compile("[0-9]{1,5}").fullmatch
_is_span_id = re.compile("(?!0{16})[0-9a-f]{16}").fullmatch


@dataclass
class Read:
    """The spans of a message, and why others of it were refused."""

    spans: list[Span] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    copied: int = 0  # bytes

    def add(self, span: dict[str, Any], service: str, common: dict[str, str], common_size: int) -> None:
        """Read a span, which gets a copy of the ``common`` tags. Raises TooLarge."""
        check_number(len(self.spans) + len(self.refused) + 1)
        self.copied += common_size
        if self.copied > MOST_COPIED:
            what = f"over {MOST_COPIED} bytes once each span has the attributes of its resource"
            raise TooLarge(f"{what}; send fewer spans in one message")
        try:
            found = _span(span, service, common)
            check_parts([found])
            self.spans.append(found)
        except ValueError as error:
            self.refused.append(str(error))


def translate(request: dict[str, Any]) -> Read:
    """Return the spans of an ExportTraceServiceRequest, in its JSON form. Raises TooLarge, and what odd types raise."""
    found = Read()
    for of_resource in request.get("resourceSpans") or ():
        resource = _attributes(of_resource.get("resource") or {})
        service = resource.pop("service.name", "")
        for of_scope in of_resource.get("scopeSpans") or ():
            common = {**resource, **_scope_tags(of_scope.get("scope") or {})}
            size = len(service) + sum(len(key) + len(text) + _TAG_SIZE for key, text in common.items())
            for span in of_scope.get("spans") or ():
                found.add(span, service, common, size)
    return found


def _scope_tags(scope: dict[str, Any]) -> dict[str, str]:
    named = {"otel.scope.name": scope.get("name"), "otel.scope.version": scope.get("version")}
    return {key: str(value) for key, value in named.items() if value}


def _span(span: dict[str, Any], service: str, common: dict[str, str]) -> Span:
    own = _attributes(span)
    start, end = _nanoseconds(span, "startTimeUnixNano"), _nanoseconds(span, "endTimeUnixNano")
    kind = span.get("kind")
    fields: dict[str, Any] = {
        "trace_id": _id("traceId", span, _is_trace_id),
        "id": _id("spanId", span, _is_span_id),
        "parent_id": _id("parentSpanId", span, _is_span_id) if span.get("parentSpanId", "").strip("0") else None,
        "name": str(span.get("name") or "").lower() or None,
        "kind": _KINDS.get(kind) if isinstance(kind, int) else _KIND_NAMES.get(str(kind)),
        "timestamp": start // 1000 or None,
        "duration": max((end - start) // 1000, 1) if end > start else None,
        "local_endpoint": Endpoint(service.lower()) if service else None,
    }
    fields["remote_endpoint"] = _remote(own) if fields["kind"] in {"CLIENT", "PRODUCER"} else None
    return finish_span(fields, _annotations(span), {**common, **own, **_status_tags(span), **dict(_other_tags(span))})


def _id(name: str, span: dict[str, Any], is_valid: Any) -> str:
    value = str(span.get(name) or "").lower()  # the JSON form takes either case
    if not is_valid(value):
        raise ValueError(f"{name} {value[:40]!r} is not an id")
    return value


def _nanoseconds(item: dict[str, Any], name: str) -> int:
    return min(max(int(item.get(name) or 0), 0), _MAX_LONG)


def _annotations(span: dict[str, Any]) -> Iterator[tuple[int, str]]:
    for event in span.get("events") or ():
        attributes = _attributes(event)
        name = str(event.get("name") or "")
        text = f"{json.dumps(name, ensure_ascii=False)}:{_json(attributes)}" if attributes else name
        yield _nanoseconds(event, "timeUnixNano") // 1000, text


def _status_tags(span: dict[str, Any]) -> dict[str, str]:
    status = span.get("status") or {}
    code = _STATUS.get(status.get("code", 0))
    if code is None:
        return {}
    return {"otel.status_code": code} | ({"error": str(status.get("message") or "")} if code == "ERROR" else {})


def _other_tags(span: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, key in (("droppedAttributesCount", "attributes"), ("droppedEventsCount", "events")):
        if span.get(name):
            yield f"otel.dropped_{key}_count", str(span[name])
    for number, link in enumerate(span.get("links") or ()):
        parts = (link.get("traceId", ""), link.get("spanId", ""), link.get("traceState", ""), _json(_attributes(link)))
        yield f"otlp.link.{number}", "|".join(map(str, parts))


def _remote(attributes: dict[str, str]) -> Endpoint | None:
    """Who was called, from the first attribute that says so."""
    name = next((attributes[key] for key in _PEERS if attributes.get(key)), None)
    address = next((found for key in _ADDRESSES if (found := parse_ip(attributes.get(key, "")))), None)
    port = next((digits[0] for key in _PORTS if (digits := _is_port(attributes.get(key, "")))), "0")
    endpoint = Endpoint(
        service_name=name.lower() if name else None,
        port=int(port) if 0 < int(port) <= _MAX_PORT else None,
        **({address[0]: address[1]} if address else {}),
    )
    return endpoint if endpoint != Endpoint() else None


# --- attributes ------------------------------------------------------------------------------------------


def _attributes(item: dict[str, Any]) -> dict[str, str]:
    return {key: _text(value) for key, value in plain_pairs(item.get("attributes") or ()).items()}


def plain_pairs(pairs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the values of KeyValues. Raises what odd types raise."""
    return {str(pair.get("key", "")): plain_value(pair.get("value") or {}) for pair in pairs}


def plain_value(value: dict[str, Any]) -> Any:
    """Return the value of an AnyValue: what JSON can hold. Raises ValueError."""
    for name, content in value.items():
        if name == "intValue":
            return int(content)
        if name == "arrayValue":
            return [plain_value(item) for item in content.get("values") or ()]
        if name == "kvlistValue":
            return plain_pairs(content.get("values") or ())
        if name == "bytesValue":
            return _base64(content)
        if name in {"stringValue", "boolValue", "doubleValue"}:
            return content
    return ""


def _base64(content: bytes | str) -> str:
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    try:
        base64.b64decode(content, validate=True)
    except binascii.Error:
        raise ValueError("bytesValue is not base64") from None
    return content


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
