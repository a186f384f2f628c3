"""Messages of OTLP over HTTP, ``POST /v1/traces``: JSON or protobuf, and the answers to them.

Source: ``collector/trace/v1/trace_service.proto`` (opentelemetry-proto) and the specification of OTLP/HTTP.
"""

from __future__ import annotations

import json
from typing import Any

from obskit.base.protobuf import varint
from obskit.collector.deadline import Deadline
from obskit.collector.intake import protobuf
from obskit.collector.intake.otlp import Read, translate
from obskit.collector.intake.zipkin import Keep, Message, Rejected, refusal, store_spans
from obskit.collector.metrics import Metrics
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.decoding import DecodeError, TooLarge
from obskit.zipkin.json_v2 import may_hold_surrogates, without_surrogates

_PROTOBUF = ("application/x-protobuf", "application/protobuf")
_LONGEST_REASON = 100  # bytes


def store_otlp(store: SpanStore, metrics: Metrics, keep: Keep, message: Message, deadline: Deadline) -> bytes:
    """Store the spans of a message; return the answer, encoded as that was. Raises Rejected or StoreError."""
    in_json, body = is_json(message), message.inflated(metrics, deadline)
    try:
        found = read_json(body) if in_json else read_protobuf(body)
    except DecodeError as error:
        raise refusal(error) from None
    if found.spans:
        store_spans(store, metrics, keep, found.spans)
    return answer(found.refused, "rejectedSpans", in_json=in_json)


def is_json(message: Message) -> bool:
    """Return True for a message in JSON, False for one in protobuf. Raises Rejected for any other."""
    if message.kind != "application/json" and message.kind not in _PROTOBUF:
        raise Rejected(415, f"send OTLP as {_PROTOBUF[0]} or application/json")
    return message.kind == "application/json"


def answer(refused: list[str], name: str, *, in_json: bool) -> bytes:
    """Return how many were refused, in the field ``name``, and why the first was; nothing if none was."""
    if not refused:
        return b"{}" if in_json else b""
    if in_json:
        partial = {name: str(len(refused)), "errorMessage": refused[0]}
        return json.dumps({"partialSuccess": partial}).encode()
    reason = refused[0].encode()[:_LONGEST_REASON]
    inner = b"\x08" + varint(len(refused)) + b"\x12" + varint(len(reason)) + reason
    return b"\x0a" + varint(len(inner)) + inner


def read_json(body: bytes) -> Read:
    """Return the spans of an ExportTraceServiceRequest in JSON. Raises DecodeError."""
    try:
        return translate(load_json(body))
    except TooLarge:
        raise
    except (ValueError, RecursionError, TypeError, AttributeError, LookupError) as error:
        raise DecodeError(f"not an OTLP message in JSON: {error}") from None


def read_protobuf(body: bytes) -> Read:
    """Return the spans of an ExportTraceServiceRequest. Raises DecodeError."""
    try:
        return translate(protobuf.decode(body, _REQUEST))
    except TooLarge:
        raise
    except ValueError as error:
        raise DecodeError(f"not an OTLP message: {error}") from None


def load_json(body: bytes) -> Any:
    """Return a message's JSON, without what no text can hold. Raises ValueError or RecursionError."""
    text = body.decode("utf-8", "replace")
    value = json.loads(text)
    return without_surrogates(value) if may_hold_surrogates(text) else value


ANY_VALUE: protobuf.Schema = {
    1: protobuf.text("stringValue"),
    2: protobuf.boolean("boolValue"),
    3: protobuf.number("intValue"),
    4: protobuf.double("doubleValue"),
    7: protobuf.blob("bytesValue"),
}
KEY_VALUE = {1: protobuf.text("key"), 2: protobuf.message("value", ANY_VALUE)}
ANY_VALUE[5] = protobuf.message("arrayValue", {1: protobuf.messages("values", ANY_VALUE)})
ANY_VALUE[6] = protobuf.message("kvlistValue", {1: protobuf.messages("values", KEY_VALUE)})
_EVENT = {
    1: protobuf.fixed64("timeUnixNano"),
    2: protobuf.text("name"),
    3: protobuf.messages("attributes", KEY_VALUE),
}
_LINK = {
    1: protobuf.hexadecimal("traceId"),
    2: protobuf.hexadecimal("spanId"),
    3: protobuf.text("traceState"),
    4: protobuf.messages("attributes", KEY_VALUE),
}
_SPAN = {
    1: protobuf.hexadecimal("traceId"),
    2: protobuf.hexadecimal("spanId"),
    4: protobuf.hexadecimal("parentSpanId"),
    5: protobuf.text("name"),
    6: protobuf.number("kind"),
    7: protobuf.fixed64("startTimeUnixNano"),
    8: protobuf.fixed64("endTimeUnixNano"),
    9: protobuf.messages("attributes", KEY_VALUE),
    10: protobuf.number("droppedAttributesCount"),
    11: protobuf.messages("events", _EVENT),
    12: protobuf.number("droppedEventsCount"),
    13: protobuf.messages("links", _LINK),
    15: protobuf.message("status", {2: protobuf.text("message"), 3: protobuf.number("code")}),
}
_SCOPE_SPANS = {
    1: protobuf.message("scope", {1: protobuf.text("name"), 2: protobuf.text("version")}),
    2: protobuf.messages("spans", _SPAN),
}
_RESOURCE_SPANS = {
    1: protobuf.message("resource", {1: protobuf.messages("attributes", KEY_VALUE)}),
    2: protobuf.messages("scopeSpans", _SCOPE_SPANS),
}
_REQUEST = {1: protobuf.messages("resourceSpans", _RESOURCE_SPANS)}
