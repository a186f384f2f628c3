"""What obskit's spans have in Cloud Trace that Zipkin's translation leaves out."""

from __future__ import annotations

from typing import Any

from obskit.export.cloud_trace.translation import moment
from obskit.zipkin.model import Span

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
