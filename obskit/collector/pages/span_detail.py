"""One span in detail, for the panel beside the waterfall."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import dedent

from obskit.collector.lines.line import Line
from obskit.collector.pages.line_rows import summary
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration
from obskit.collector.pages.trace_lines import TraceLines, severity_level
from obskit.collector.pages.website import Site
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View, ids_of
from obskit.zipkin.model import Endpoint

_MOST_LINES = 20
_PART = "<section><h2>{badge}{title}</h2>{tables}</section>"
_TABLE = "<table><caption>{name}</caption><tbody>{rows}</tbody></table>"
_ROW = '<tr><th scope="row">{key}</th><td>{value}</td></tr>'


@dataclass(frozen=True)
class Detail:
    """The details of a span: named tables of keys and values."""

    title: str
    service: str
    tables: list[tuple[str, list[tuple[str, str]]]]


def details(shown: View, ids: set[str], lines: TraceLines) -> list[Detail]:
    """Return the spans with these ids, the client's span before the server's."""
    nodes = [node for node in shown.rows if not node.repeats and not ids.isdisjoint(ids_of(node))]
    return [_detail(half, shown, lines) for node in nodes for half in (node, node.half) if half]


def panel(site: Site, found: Iterable[Detail]) -> Html:
    """Return the details as HTML, for browsers without scripts."""
    return join(_part(site, detail) for detail in found)


def _part(site: Site, detail: Detail) -> Html:
    tables = join(
        render(_TABLE, name=name, rows=join(render(_ROW, key=key, value=value) for key, value in rows))
        for name, rows in detail.tables
    )
    return render(_PART, badge=site.badge(detail.service), title=detail.title, tables=tables)


def _detail(node: Node, shown: View, lines: TraceLines) -> Detail:
    span = node.span
    tables = [
        ("Tags", [(key, _as_block(value)) for key, value in span.tags.items()]),
        ("Annotations", [(_since(item.timestamp + node.shift, shown), item.value) for item in span.annotations]),
        ("Log lines", list(_lines(node, shown, lines.of_span.get(node, [])))),
        ("Span", list(_facts(node, shown))),
    ]
    return Detail(span.name or "unnamed", node.service, [table for table in tables if table[1]])


def _as_block(text: str) -> str:
    """Return a text of several lines, as SQL in a program is, without what surrounds it and its indent."""
    return dedent(text).strip() if "\n" in text else text


def _lines(node: Node, shown: View, lines: list[Line]) -> Iterator[tuple[str, str]]:
    for line in lines[:_MOST_LINES]:
        said = f"{line.level}: " if severity_level(line) else ""
        yield _since(line.time + node.shift, shown), said + summary(line.message)
    if len(lines) > _MOST_LINES:
        yield "more", f"{len(lines) - _MOST_LINES:,}, below the waterfall"


def _facts(node: Node, shown: View) -> Iterator[tuple[str, str]]:
    span = node.span
    yield "duration", duration(span.duration)
    yield "self time", duration(node.own) if node.own else "0"
    if node.start:
        yield "began", _since(node.start, shown)
    if node.shift:
        yield "clock", f"{'+' if node.shift > 0 else '-'}{duration(abs(node.shift))}: its own was elsewhere"
    yield "kind", (span.kind or "local").lower() + (" (shares its id)" if span.shared else "")
    yield "span id", span.id
    yield "parent id", (span.parent_id or "none") + (" (not in this trace)" if node.orphan else "")
    for label, endpoint in (("local", span.local_endpoint), ("remote", span.remote_endpoint)):
        if endpoint:
            yield label, _address(endpoint)


def _since(timestamp: int, shown: View) -> str:
    past = timestamp - shown.start
    return "at the start" if not past else f"{'+' if past > 0 else '-'}{duration(abs(past))}"


def _address(endpoint: Endpoint) -> str:
    """Return ``service 10.0.0.1 [::1] port 80``, as far as known."""
    parts = [endpoint.service_name, endpoint.ipv4, f"[{endpoint.ipv6}]" if endpoint.ipv6 else None]
    parts.append(f"port {endpoint.port}" if endpoint.port else None)
    return " ".join(part for part in parts if part)
