"""The Zipkin v2 span model, field for field as the reference writes it.

Source: the Zipkin v2 OpenAPI document and ``zipkin2.Span`` (openzipkin/zipkin). Struct fields are in the order in which
the reference encoder writes them, so encoding needs no sorting. No struct can be part of a reference cycle, so the
garbage collector need not track them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Kind = Literal["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]


class Endpoint(msgspec.Struct, omit_defaults=True, rename="camel", frozen=True, gc=False, cache_hash=True):
    """One side of a call: a service name and, if known, its addresses and port."""

    service_name: str | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    port: int | None = None


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """An event in a span: epoch microseconds and a short text."""

    timestamp: int
    value: str


class Span(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True, gc=False):
    """One operation. Ids are lower-case hex (16 or 32 characters), times are microseconds."""

    trace_id: str
    parent_id: str | None = None
    id: str
    kind: Kind | None = None
    name: str | None = None
    timestamp: int | None = None
    duration: int | None = None
    local_endpoint: Endpoint | None = None
    remote_endpoint: Endpoint | None = None
    annotations: list[Annotation] = []
    tags: dict[str, str] = {}
    debug: bool = False
    shared: bool = False


def local_service(span: Span) -> str | None:
    """Return the service that reported a span."""
    return span.local_endpoint.service_name if span.local_endpoint else None


def remote_service(span: Span) -> str | None:
    """Return the service on the other side of a span."""
    return span.remote_endpoint.service_name if span.remote_endpoint else None


ZERO_ID = "0" * 16


def sendable(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in the form that a Zipkin server accepts.

    It refuses a message with a span id of sixteen zeros, but reads fewer zeros as that id.
    """
    return [msgspec.structs.replace(span, id="00") if span.id == ZERO_ID else span for span in spans]
