"""What all decoders of spans share: their errors, the limit of spans, and the final checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from obskit.zipkin.model import Annotation, Span

MOST_SPANS = 100_000  # in a message: a span of 25 bytes takes a kilobyte of memory


class DecodeError(ValueError):
    """The body is not a list of valid spans; the message is one line that says why."""


class TooManySpans(DecodeError):
    """The body has more than MOST_SPANS spans."""

    def __init__(self) -> None:
        super().__init__(f"over {MOST_SPANS} spans; send fewer in one message")


def check_number(spans: int) -> None:
    """Raise TooManySpans if there are more than MOST_SPANS."""
    if spans > MOST_SPANS:
        raise TooManySpans


def finish_span(fields: dict[str, Any], annotations: Iterable[tuple[int, str]], tags: dict[str, str]) -> Span:
    """Return a span of fields that are each valid. Changes ``fields``. Raises ValueError if an id is missing."""
    missing = [key for key, field in (("traceId", "trace_id"), ("id", "id")) if field not in fields]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}")
    if fields.get("parent_id") == fields["id"]:
        fields["parent_id"] = None
    if fields.get("kind") == "CLIENT":  # a client creates its span's id, so it never shares another span's
        fields["shared"] = False
    ordered = [Annotation(timestamp, text) for timestamp, text in sorted(set(annotations))]
    return Span(**fields, annotations=ordered, tags=tags)
