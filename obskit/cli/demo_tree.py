"""A trace as text: one line a span, children below their parent and further in."""

from __future__ import annotations

from obskit.collector.show import duration
from obskit.collector.tree import Row, arrange, extent, service_of
from obskit.zipkin.model import Span


def tree(trace: list[Span]) -> str:
    """Return the lines: service, kind and name, duration, and the error where there is one."""
    rows = arrange(trace)
    width = max(len(_label(row)) for row in rows)
    head = f"trace {trace[0].trace_id}, {len(trace)} spans, {duration(extent(trace).duration)}"
    return "\n".join(
        [head, *(f"  {_label(row):<{width}}  {duration(row.span.duration):>9}{_end(row)}" for row in rows)]
    )


def _label(row: Row) -> str:
    span = row.span
    return f"{'  ' * row.depth}{service_of(span)}  {(span.kind or 'local').lower()} {span.name}"


def _end(row: Row) -> str:
    tags = row.span.tags
    return "".join(f"  {key}={tags[key]}" for key in ("http.status_code", "error") if key in tags)
