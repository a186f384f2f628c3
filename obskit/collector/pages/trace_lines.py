"""The log lines of a trace, each with the span that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from obskit.collector.lines.line import Line
from obskit.collector.lines.search import LineQuery, newer
from obskit.collector.pages.line_rows import level, summary
from obskit.collector.pages.website import Site
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View, ids_of

MOST_LINES = 1_000
LEVELS = ("quiet", "warned", "bad")
_LONGEST_TEXT = 100  # characters of a message in the title of a mark

Mark = tuple[int, int, str]
"""Microseconds since the trace began; 0, or 1 for a warning, or 2 for an error; and the beginning of the message."""


@dataclass(frozen=True)
class TraceLines:
    """The first ``MOST_LINES`` lines of a trace, oldest first, and those of each span. ``more``: there are others."""

    lines: list[Line]
    more: bool = False
    of_span: dict[Node, list[Line]] = field(default_factory=dict)

    def of_row(self, node: Node) -> list[tuple[Node, Line]]:
        """Return the lines of a row, with the span of each: of both halves of a call, or of all repeats."""
        if not self.of_span:
            return []
        if node.repeats:
            return [pair for child in node.children for pair in self.of_row(child)]
        return [(part, line) for part in (node, node.half) if part for line in self.of_span.get(part, ())]

    def below(self, top: Node) -> list[Line]:
        """Return the lines of a span and of all that it led to, oldest first."""
        found = [line for node in _subtree(top) for _, line in self.of_row(node) if not node.repeats]
        return sorted(found, key=lambda line: (line.time, line.id))

    def marks(self, node: Node, start: int) -> list[Mark]:
        """Return the marks on the bar of a row of a trace that began at ``start``, by the clock that its bar has."""
        return sorted(
            (line.time + part.shift - start, severity_level(line), summary(line.message)[:_LONGEST_TEXT])
            for part, line in self.of_row(node)
        )


def lines_of(site: Site, trace_id: str, shown: View | None) -> TraceLines:
    """Read the lines of a trace, whose spans are ``shown``."""
    lines = newer(site.lines.database, LineQuery(trace=trace_id, limit=MOST_LINES + 1)).lines
    found = TraceLines(lines[:MOST_LINES], len(lines) > MOST_LINES)
    if not shown or not lines:
        return found
    spans = _spans(shown.rows)
    for line in found.lines:
        part = spans.get((line.span, line.service)) or spans.get((line.span, ""))
        if part and line.span:
            found.of_span.setdefault(part, []).append(line)
    return found


def row_of(shown: View, span_id: str) -> Node | None:
    """Return the row of a span."""
    return next((node for node in shown.rows if not node.repeats and span_id in ids_of(node)), None)


def severity_level(line: Line) -> int:
    """Return 0, or 1 for a warning, or 2 for an error."""
    return LEVELS.index(level(line))


def _spans(rows: Iterable[Node]) -> dict[tuple[str, str], Node]:
    """Return each span by its id and service, and by its id alone: the halves of a call may share an id."""
    found: dict[tuple[str, str], Node] = {}
    for node in rows:
        for part in (node, node.half):
            if part and not node.repeats:
                found.setdefault((part.span.id, part.service), part)
                found.setdefault((part.span.id, ""), part)
    return found


def _subtree(top: Node) -> Iterator[Node]:
    waiting = [top]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children)
