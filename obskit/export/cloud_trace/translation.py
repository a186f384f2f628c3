"""A Zipkin span as a Span of Cloud Trace's API v2, in JSON form, exactly as Zipkin's own collector for it translates.

Source: openzipkin/zipkin-gcp, zipkin-translation-stackdriver 2.3.0; google.devtools.cloudtrace.v2.Span.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from obskit.zipkin.model import Annotation, Span

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
    """Return a time since the epoch as RFC 3339 has it."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _attributes(span: Span, agent: str) -> dict[str, str]:
    """Return the attributes. The order counts: of two with one key the later stays."""
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
