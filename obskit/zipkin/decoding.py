"""What the readers of spans have in common, whatever the encoding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from obskit.zipkin.model import Annotation, Span

MOST_SPANS = 100_000  # of a message: 25 bytes are a span, which takes a kilobyte of memory


class DecodeError(ValueError):
    """The body is not a list of valid spans; the message is one line which says why."""


class TooManySpans(DecodeError):
    """The body has more than MOST_SPANS."""

    def __init__(self) -> None:
        super().__init__(f"over {MOST_SPANS} spans; send fewer in one message")


def check_number(spans: int) -> None:
    """Raises TooManySpans."""
    if spans > MOST_SPANS:
        raise TooManySpans


def finish_span(fields: dict[str, Any], annotations: Iterable[tuple[int, str]], tags: dict[str, str]) -> Span:
    """A span of fields that are valid by themselves. Changes ``fields``. Raises ValueError where an id is missing."""
    missing = [key for key, field in (("traceId", "trace_id"), ("id", "id")) if field not in fields]
    if missing:
        raise ValueError(f"missing {' and '.join(missing)}")
    if fields.get("parent_id") == fields["id"]:
        fields["parent_id"] = None
    if fields.get("kind") == "CLIENT":  # a client never shares the id that it made
        fields["shared"] = False
    ordered = [Annotation(timestamp, text) for timestamp, text in sorted(set(annotations))]
    return Span(**fields, annotations=ordered, tags=tags)
