"""Which service calls which: the answer of GET /api/v2/dependencies.

Source: ``zipkin2.internal.SpanNode`` and ``zipkin2.internal.DependencyLinker`` (openzipkin/zipkin 3.6.1).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from obskit.collector.merge import merge
from obskit.zipkin.model import Endpoint, Span

_Key = tuple[str, bool, Endpoint | None]  # a span's id; for the server's half of a shared one, where it ran


class Link(msgspec.Struct, omit_defaults=True, rename="camel"):
    """How often one service called another, and how often that failed."""

    parent: str
    child: str
    call_count: int = 0
    error_count: int = 0


@dataclass(eq=False)
class _Node:
    """A span in the tree of its trace; None for the root of a trace that has none."""

    span: Span | None
    parent: _Node | None = None
    children: list[_Node] = field(default_factory=list)
    caller: Span | None = None  # the nearest span above that is one side of a call: inner work may stand between


class Links:
    """Calls between services, counted over traces."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()

    def add(self, trace: list[Span]) -> None:
        """Counts the calls of a trace."""
        root = _tree(merge(trace))
        for node in _breadth_first(root):
            if node.span is not None and not (node.span.kind == "CLIENT" and node.children):  # its server says it
                self._add_span(node, node.span, is_root=node is root)

    def add_counted(self, links: Iterable[Link]) -> None:
        """Counts what was counted before; it may be below zero where a trace lost spans that hid others."""
        for link in links:
            self._calls[link.parent, link.child] += link.call_count
            self._errors[link.parent, link.child] += link.error_count

    def as_list(self) -> list[Link]:
        """The links, in the order in which they were first seen."""
        return [Link(*pair, count, max(self._errors[pair], 0)) for pair, count in self._calls.items() if count > 0]

    def _add_span(self, node: _Node, span: Span, *, is_root: bool) -> None:
        local, remote = _service(span.local_endpoint), _service(span.remote_endpoint)
        kind = span.kind or ("CLIENT" if local and remote else None)
        calls = kind in {"CLIENT", "PRODUCER"}
        parent, child = (local, remote) if calls else (remote, local)
        if kind is None or (is_root and not calls and not parent):
            return
        failed = "error" in span.tags
        ancestor = node.caller if kind in {"CLIENT", "SERVER"} else None
        name = _service(ancestor.local_endpoint) if ancestor else None
        if ancestor and name:
            if calls and local and local != name:  # the ancestor called the service that made this call
                self._count(name, local, failed=False)
            if not calls or not parent:
                parent = name
            failed = failed or _failed_client(ancestor, span)
        self._count(parent, child, failed=failed)

    def _count(self, parent: str | None, child: str | None, *, failed: bool) -> None:
        if parent and child:
            self._calls[parent, child] += 1
            self._errors[parent, child] += failed


def links(traces: Iterable[list[Span]]) -> list[Link]:
    """The links between the services of some traces."""
    found = Links()
    for trace in traces:
        found.add(trace)
    return found.as_list()


def _service(endpoint: Endpoint | None) -> str | None:
    return endpoint.service_name if endpoint else None


def _failed_client(ancestor: Span, span: Span) -> bool:
    """True when the client's half of a call says that it failed."""
    return ancestor.kind == "CLIENT" and span.parent_id == ancestor.id and "error" in ancestor.tags


def _breadth_first(root: _Node) -> Iterator[_Node]:
    waiting = deque([root])
    while waiting:
        node = waiting.popleft()
        above = node.parent
        if above:  # was here before its children, and knows its own caller
            node.caller = above.span if above.span and above.span.kind else above.caller
        yield node
        waiting += sorted(node.children, key=lambda child: (child.span and child.span.timestamp) or 0)


def _tree(spans: list[Span]) -> _Node:
    """The root, with everything else below it: what names no parent, or one that is not here, is the root's child."""
    parents = {_key(span): _parent_key(span) for span in spans}
    nodes: dict[_Key | None, _Node] = {}
    root: _Node | None = None
    for span in spans:
        key, node = _key(span), _Node(span)
        beside = (span.parent_id or "", True, span.local_endpoint)  # the server's half, which did the work
        if not span.shared and span.parent_id and beside in parents:
            parents[key] = beside
        if root is None and not span.shared and not span.parent_id:
            root = node
            del parents[key]
        else:
            nodes[key] = node
    root = root or _Node(None)
    for key, parent in parents.items():
        child = nodes[key]
        child.parent = nodes.get(parent, root)
        child.parent.children.append(child)
    return root


def _key(span: Span) -> _Key:
    return span.id, span.shared, span.local_endpoint if span.shared else None


def _parent_key(span: Span) -> _Key | None:
    parent = span.id if span.shared else span.parent_id
    return (parent, False, None) if parent else None
