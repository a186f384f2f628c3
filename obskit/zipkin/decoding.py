"""What the readers of spans have in common, whatever the encoding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from obskit.zipkin.model import Annotation, Span


class DecodeError(ValueError):
    """The body is not a list of valid spans; the message is one line which says why."""


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
