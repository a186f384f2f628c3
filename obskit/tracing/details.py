"""What a span holds besides its tags, made of what the application gives: events, exceptions, links and times."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Link, SpanContext

from obskit.base.failures import misused
from obskit.base.interruptions import let_through
from obskit.base.records import NamedTuple
from obskit.base.values import text
from obskit.tracing.attributes import clean_all
from obskit.tracing.limits import limits

_LATEST = 2**63 - 1  # nanoseconds; the formats spans are sent in have 64 bits, some of them with a sign


class Event(NamedTuple):
    """Something that happened at a moment of a span: epoch nanoseconds, a name, and attributes or None."""

    timestamp: int
    name: str
    attributes: Mapping[str, Any] | None = None
    dropped_attributes: int = 0


def event(timestamp: int, name: object, attributes: object) -> Event:
    """Return an event with what can be kept of what was given. Raises what ``attributes`` raises."""
    if not attributes:
        return Event(timestamp, text(name)[: limits.other_length])
    return Event(timestamp, text(name)[: limits.other_length], *_bounded(attributes, limits.event_attributes))


def exception_attributes(exception: object, escaped: object) -> dict[str, Any]:
    """Return what OpenTelemetry says of an exception in an event."""
    kind = type(exception)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    found = {"exception.type": name, "exception.message": text(exception), "exception.escaped": text(escaped)}
    if issubclass(kind, BaseException):
        found["exception.stacktrace"] = _stack_trace(exception)
    return found


def link(context: object, attributes: object) -> Link | None:
    """Return a link with what can be kept of its attributes; None where there is nothing to link to."""
    if not isinstance(context, SpanContext) or not (context.is_valid or attributes or context.trace_state):
        return None
    return Link(context, bounded(*_bounded(attributes or {}, limits.link_attributes)))


def bounded(kept: Mapping[str, Any], dropped: int) -> BoundedAttributes:
    """Return attributes that tell exporters how many were left out."""
    made = BoundedAttributes(attributes=dict(kept))
    made.dropped = dropped
    return made


def moment(given: object) -> int | None:
    """Return a time as a whole number from zero on, or None where it is none that exporters can write."""
    try:
        found = int(given) if type(given) is float else int.__index__(given)  # type: ignore[arg-type]
    except Exception:
        let_through()
        found = -1
    if 0 <= found <= _LATEST:
        return found
    misused("an argument that is a time")
    return None


def _bounded(attributes: object, most: int) -> tuple[dict[str, Any], int]:
    return clean_all(attributes, most, limits.other_length)


def _stack_trace(exception: Any) -> str:
    try:
        return "".join(traceback.format_exception(exception))
    except Exception:  # the exception's own text, or that of its causes, may raise anything
        let_through()
        return ""
