"""Finds the trace of an id of which only a part is known."""

from __future__ import annotations

from obskit.collector.deadline import Deadline
from obskit.collector.store.reading import Reader
from obskit.collector.store.trace_index import TraceIndex

_TAIL = 8  # last digits of a trace id, which console log lines show
_SPAN_ID = 16
_ANY_TIME = 2**63 - 1


def find_ids(index: TraceIndex, reader: Reader, text: str, deadline: Deadline) -> tuple[str, str | None] | None:
    """Return the newest trace whose id ends with 8 given digits, or the trace and span of a full span id."""
    if len(text) == _TAIL:
        for low in index.ending_with(int(text, 16)):
            for span in reader.traces([low]).get(low, []):
                return span.trace_id, None
    return _find_span(reader, text.rjust(_SPAN_ID, "0"), deadline) if len(text) <= _SPAN_ID else None


def _find_span(reader: Reader, span_id: str, deadline: Deadline) -> tuple[str, str | None] | None:
    for header in reader.headers(1, _ANY_TIME):
        deadline.check()
        for spans in reader.block(header.key).values():
            for span in spans:
                if span.id == span_id:
                    return span.trace_id, span_id
    return None
