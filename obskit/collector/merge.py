"""One span for each that was sent in pieces, before a trace's dependencies are looked for.

Reads give spans as they were sent. Source: ``zipkin2.internal.Trace`` (openzipkin/zipkin 3.6.1), as far as links
between services depend on it: names, durations and annotations are those of the first piece.
"""

from __future__ import annotations

from operator import attrgetter

import msgspec

from obskit.zipkin.model import Endpoint, Span

_ENDPOINT_FIELDS = ("service_name", "ipv4", "ipv6", "port")


def merge(spans: list[Span]) -> list[Span]:
    """Return pieces of one side of a call as one span, and the server's half of a shared id marked as shared.

    In the order of their ids. Where each has an id of its own they are the spans themselves: not to be changed.
    """
    if len({span.id for span in spans}) == len(spans):
        return sorted(spans, key=attrgetter("id"))
    merged: list[Span] = []
    sent_as_shared = False  # the flag of the last span before it was corrected: that of its other pieces
    for span in sorted(spans, key=_order):
        last = merged[-1] if merged and merged[-1].id == span.id else None
        if last and span.shared == sent_as_shared and _agree(last.local_endpoint, span.local_endpoint):
            _add(last, span)
        else:
            merged.append(_second_half(last, span))
            sent_as_shared = span.shared
    return merged


def _second_half(other: Span | None, span: Span) -> Span:
    """Return a copy of ``span`` with what the half with the same id says of both."""
    copy = msgspec.structs.replace(span, tags=dict(span.tags))
    if other:
        copy.shared = span.shared or (other.kind == "CLIENT" and span.kind == "SERVER")
        if copy.shared:
            copy.parent_id = span.parent_id or other.parent_id
    return copy


def _add(span: Span, piece: Span) -> None:
    """Fill the gaps of ``span`` from ``piece``, whose tags win."""
    span.parent_id = span.parent_id or piece.parent_id
    span.kind = span.kind or piece.kind
    span.timestamp = span.timestamp or piece.timestamp
    span.local_endpoint = _union(span.local_endpoint, piece.local_endpoint)
    span.remote_endpoint = _union(span.remote_endpoint, piece.remote_endpoint)
    span.tags |= piece.tags


def _order(span: Span) -> tuple[object, ...]:
    where = span.local_endpoint
    fields = [getattr(where, name) for name in _ENDPOINT_FIELDS[:3]] if where else []
    return span.id, span.shared, span.kind != "CLIENT", [(field is None, field or "") for field in fields]


def _agree(one: Endpoint | None, other: Endpoint | None) -> bool:
    """Return True unless the endpoints differ in what both know."""
    pairs = ((getattr(one, name, None), getattr(other, name, None)) for name in _ENDPOINT_FIELDS)
    return all(a is None or b is None or a == b for a, b in pairs)


def _union(one: Endpoint | None, other: Endpoint | None) -> Endpoint | None:
    if one is None or other is None:
        return one or other
    return Endpoint(*(getattr(one, name) or getattr(other, name) for name in _ENDPOINT_FIELDS))
