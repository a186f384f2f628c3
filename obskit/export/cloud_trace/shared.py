"""Ids of their own for server spans that share their client's: to Cloud Trace a second span of one id is the same one.

Zipkin's own collector for Cloud Trace sends both, and one is lost: its users are told to turn sharing off.
"""

from __future__ import annotations

import msgspec

from obskit.zipkin.model import Span

_MASK = 0x3F6A2EC3C810C2AB  # what the 2018 collector told spans apart by, though it was the client's id that it changed


def separate(spans: list[Span]) -> list[Span]:
    """Return the spans of one message, each shared one with an id made from its own, as the child of the other half.

    Its children follow where the message has them; those that came in another one stay the client span's.
    """
    shared = {(span.trace_id, span.id, _service(span)) for span in spans if span.shared}
    return [_apart(span, shared) for span in spans] if shared else spans


def _apart(span: Span, shared: set[tuple[str, str, str | None]]) -> Span:
    if span.shared:
        return msgspec.structs.replace(span, id=_own_id(span.id), parent_id=span.id, shared=False)
    if span.parent_id and span.kind != "SERVER" and (span.trace_id, span.parent_id, _service(span)) in shared:
        return msgspec.structs.replace(span, parent_id=_own_id(span.parent_id))
    return span


def _service(span: Span) -> str | None:
    return span.local_endpoint.service_name if span.local_endpoint else None


def _own_id(text: str) -> str:
    return f"{int(text, 16) ^ _MASK or 1:016x}"
