"""How much memory a waiting span takes, about: asked for every span, so an estimate that costs nothing."""

from __future__ import annotations

from obskit.tracing.limits import SMALL
from obskit.tracing.span import Span


def span_weight(span: Span) -> int:
    """Return an upper bound of a recorded span's characters: what is small counts as ``SMALL``, the rest exactly."""
    return SMALL * len(span.tags) + span.heavy
