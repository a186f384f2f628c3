"""What all decoders of spans share: their errors, the limit of spans, and the final checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from obskit.zipkin.model import Annotation, Span

MOST_SPANS = 100_000  # in a message: a span of 25 bytes takes a kilobyte of memory
MOST_PARTS = 10_000  # tags of a span, and annotations: its page shows all of them


class DecodeError(ValueError):
    """The body is not a list of valid spans; the message is one line that says why."""


class TooLarge(DecodeError):
    """The body, or a span in it, has more of something than is taken."""


def check_number(spans: int) -> None:
    """Raise TooLarge if there are more than MOST_SPANS spans."""
    if spans > MOST_SPANS:
        raise TooLarge(f"over {MOST_SPANS} spans; send fewer in one message")


def check_parts(spans: Sequence[Span]) -> None:
    """Raise TooLarge if a span has more than MOST_PARTS tags, or annotations."""
    if max(map(len, [span.tags for span in spans]), default=0) > MOST_PARTS:
        raise TooLarge(f"a span has over {MOST_PARTS} tags; put what varies into their values")
    if max(map(len, [span.annotations for span in spans]), default=0) > MOST_PARTS:
        raise TooLarge(f"a span has over {MOST_PARTS} annotations; log what happens so often")


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
