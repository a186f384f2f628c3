"""Translates a Zipkin span to a Span of Cloud Trace's API v2 in JSON form, as Zipkin's own collector for it does.

Three things differ from that collector. ``add`` sets fields that it leaves out: kind, status and required times.
``fit`` and ``check`` keep to the API's limits, since it refuses a whole batch for one bad span. ``separate`` gives
server spans that share their client's id another one: Cloud Trace keeps one span for each id, so one of the two is lost
there, and users of Zipkin's collector have to turn sharing off.

Source: openzipkin/zipkin-gcp, zipkin-translation-stackdriver 2.3.0; google.devtools.cloudtrace.v2 (trace.proto); Cloud
Trace's "Quotas and limits". Lengths are in bytes of UTF-8.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import msgspec

from obskit.zipkin.model import Annotation, Span, local_service

_MASK = 0x3F6A2EC3C810C2AB  # what the 2018 collector told spans apart by, though it was the client's id that it changed


def separate(spans: list[Span]) -> list[Span]:
    """Return the spans of one message, with each shared server span as a child of its client's, with a derived id.

    Its children in the same message move with it; those in other messages stay children of the client span.
    """
    shared = {(span.trace_id, span.id, local_service(span)) for span in spans if span.shared}
    return [_apart(span, shared) for span in spans] if shared else spans


def _apart(span: Span, shared: set[tuple[str, str, str | None]]) -> Span:
    if span.shared:
        return msgspec.structs.replace(span, id=_own_id(span.id), parent_id=span.id, shared=False)
    if span.parent_id and span.kind != "SERVER" and (span.trace_id, span.parent_id, local_service(span)) in shared:
        return msgspec.structs.replace(span, parent_id=_own_id(span.parent_id))
    return span


def _own_id(text: str) -> str:
    return f"{int(text, 16) ^ _MASK or 1:016x}"


_RENAMED = {
    "http.host": "/http/host",
    "http.method": "/http/method",
    "http.status_code": "/http/status_code",
    "http.request.size": "/request/size",
    "http.response.size": "/response/size",
    "http.url": "/http/url",
}
_OLD_NAMES = {"status": "/http/status_code", "method": "/http/method"}


def translate(span: Span, project: str, agent: str) -> dict[str, Any]:
    """Return ``span`` as part of ``project``. ``agent`` is what root spans name as their reporter."""
    trace_id = span.trace_id.rjust(32, "0")
    made: dict[str, Any] = {
        "name": f"projects/{project}/traces/{trace_id}/spans/{span.id}",
        "spanId": span.id,
        "displayName": {"value": span.name or "unknown"},
    }
    if span.parent_id:
        made["parentSpanId"] = span.parent_id
    if span.timestamp:
        made["startTime"] = moment(span.timestamp)
        if span.duration:
            made["endTime"] = moment(span.timestamp + span.duration)
    texts = {key: {"stringValue": {"value": value}} for key, value in _attributes(span, agent).items()}
    made["attributes"] = {"attributeMap": texts}
    if span.annotations:
        made["timeEvents"] = {"timeEvent": [_event(annotation) for annotation in span.annotations]}
    return made


def moment(microseconds: int) -> str:
    """Return a time since the epoch in RFC 3339 form."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _attributes(span: Span, agent: str) -> dict[str, str]:
    """Return the attributes. Order matters: of two with one key the later is kept."""
    found = {"/kind": span.kind.lower()} if span.kind else {}
    tags = span.tags
    for key in sorted(tags):
        found[_RENAMED.get(key, key)] = tags[key]
    if span.name and "http" in span.name:
        found.update({new: tags[old] for old, new in _OLD_NAMES.items() if old in tags})
    found.update(_local(span))
    if not span.parent_id:
        found["/agent"] = agent
    return found


def _local(span: Span) -> dict[str, str]:
    """Return what the local endpoint says."""
    local = span.local_endpoint
    if local is None:
        return {}
    found = {"/component": local.service_name}
    if span.kind == "SERVER":
        found |= {"endpoint.ipv4": local.ipv4, "endpoint.ipv6": local.ipv6}
    return {key: value for key, value in found.items() if value}


def _event(annotation: Annotation) -> dict[str, Any]:
    return {"time": moment(annotation.timestamp), "annotation": {"description": {"value": annotation.value}}}


_UNKNOWN = 2  # google.rpc.Code


def add(made: dict[str, Any], span: Span) -> None:
    """Add to ``made``, the translation of ``span``, its kind, its status and the times that the API insists on."""
    if span.kind:
        made["spanKind"] = span.kind
    if "error" in span.tags:
        made["status"] = {"code": _UNKNOWN, "message": span.tags["error"]}
    if "endTime" not in made:
        start, end = times(span)
        made |= {"startTime": moment(start), "endTime": moment(end)}


def times(span: Span) -> tuple[int, int]:
    """Return when ``span`` began and ended, in microseconds; where it does not say, its annotations' times.

    Zeros where it says nothing at all.
    """
    moments = [annotation.timestamp for annotation in span.annotations]
    start = span.timestamp or min(moments, default=0)
    return start, start + span.duration if span.duration else max([start, *moments])


_NAME = 128
_KEY = 128
_VALUE = 256
_ATTRIBUTES = 32
_ANNOTATIONS = 32
_DAY = 24 * 3600 * 1_000_000
_OLDEST = 14 * _DAY
_NEWEST = 3 * _DAY
_KEPT_FIRST = ("/", "error", "endpoint.")


class Unacceptable(ValueError):
    """A span that the API refuses, even truncated."""


def check(span: Span, now: int) -> None:
    """Raise Unacceptable if the API would refuse ``span`` at ``now`` (microseconds since the epoch)."""
    start, end = times(span)
    if not span.id.strip("0"):
        raise Unacceptable("a span's id is zero")
    if not start:
        raise Unacceptable(f"span {span.id} has no timestamp")
    if start < now - _OLDEST or end > now + _NEWEST:
        raise Unacceptable(f"span {span.id} is more than 14 days old, or ends more than 3 days ahead")


def fit(made: dict[str, Any]) -> None:
    """Truncate a Span in JSON form to the API's limits, and mark it."""
    made["displayName"] = _text(made["displayName"]["value"], _NAME)
    made["attributes"] = _limited_attributes(made["attributes"]["attributeMap"])
    if "timeEvents" in made:
        made["timeEvents"] = _events(made["timeEvents"]["timeEvent"])
    if "status" in made:
        made["status"]["message"] = _text(made["status"]["message"], _VALUE)["value"]


def _limited_attributes(given: dict[str, Any]) -> dict[str, Any]:
    """Return as many attributes as the API accepts. One whose key is too long is left out."""
    kept = [key for key in given if key and len(key if key.isascii() else _bytes(key)) <= _KEY]
    if len(kept) > _ATTRIBUTES:
        kept = sorted(kept, key=lambda key: not key.startswith(_KEPT_FIRST))[:_ATTRIBUTES]
    texts = {_whole(key): {"stringValue": _text(given[key]["stringValue"]["value"], _VALUE)} for key in kept}
    dropped = {"droppedAttributesCount": len(given) - len(texts)} if len(texts) < len(given) else {}
    return {"attributeMap": texts, **dropped}


def _events(given: list[dict[str, Any]]) -> dict[str, Any]:
    kept = given[:_ANNOTATIONS]
    for event in kept:
        event["annotation"]["description"] = _text(event["annotation"]["description"]["value"], _VALUE)
    dropped = {"droppedAnnotationsCount": len(given) - len(kept)} if len(kept) < len(given) else {}
    return {"timeEvent": kept, **dropped}


def _text(value: str, most: int) -> dict[str, Any]:
    """Return a TruncatableString of ``most`` bytes at most, cut between two characters."""
    if len(value) <= most and value.isascii():
        return {"value": value}
    data = _bytes(value)
    kept = data[:most].decode("utf-8", "ignore")
    cut = len(data) - len(kept.encode())
    return {"value": kept, "truncatedByteCount": cut} if cut else {"value": kept}


def _whole(text: str) -> str:
    return text if text.isascii() else _bytes(text).decode()


def _bytes(text: str) -> bytes:
    """Return UTF-8, with ``?`` for the half of a surrogate pair."""
    return text.encode("utf-8", "replace")
