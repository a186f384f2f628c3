"""Which service calls which: the answer of GET /api/v2/dependencies.

Source: ``zipkin2.internal.SpanNode`` and ``zipkin2.internal.DependencyLinker`` (openzipkin/zipkin 3.6.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from obskit.collector.merge import merge
from obskit.zipkin.model import Endpoint, Span

_Key = str | tuple[str, Endpoint | None]  # a span's id; with where it ran, for the server's half of a shared one


class Link(msgspec.Struct, omit_defaults=True, rename="camel"):
    """How often one service called another, and how often that failed."""

    parent: str
    child: str
    call_count: int = 0
    error_count: int = 0


class Links:
    """Calls between services, counted over traces."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()

    def add(self, trace: list[Span]) -> None:
        """Count the calls of a trace."""
        tree = _Tree(merge(trace))
        root = tree.root
        if root is not None and not (root.kind == "CLIENT" and tree.calls_from_root):
            self._add_span(root, None, is_root=True)
        for span, caller, has_children in tree.below_root():
            if not (has_children and span.kind == "CLIENT"):  # else its server says it
                self._add_span(span, caller, is_root=False)

    def add_counted(self, links: Iterable[Link], times: int = 1) -> None:
        """Count what was counted before, ``times`` over; sums may be negative if a trace lost spans that hid others."""
        for link in links:
            self._calls[link.parent, link.child] += link.call_count * times
            self._errors[link.parent, link.child] += link.error_count * times

    def as_list(self) -> list[Link]:
        """Return the links."""
        return [Link(*pair, count, max(self._errors[pair], 0)) for pair, count in self._calls.items() if count > 0]

    def _add_span(self, span: Span, caller: Span | None, *, is_root: bool) -> None:
        """Add a span's call. ``caller`` is the nearest span above that is a side of a call."""
        local, remote = _service(span.local_endpoint), _service(span.remote_endpoint)
        kind = span.kind or ("CLIENT" if local and remote else None)
        calls = kind in {"CLIENT", "PRODUCER"}
        parent, child = (local, remote) if calls else (remote, local)
        if kind is None or (is_root and not calls and not parent):
            return
        failed = "error" in span.tags
        ancestor = caller if kind in {"CLIENT", "SERVER"} else None
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
            if failed:
                self._errors[parent, child] += 1


def links(traces: Iterable[list[Span]]) -> list[Link]:
    """Return the links between the services of some traces."""
    found = Links()
    for trace in traces:
        found.add(trace)
    return found.as_list()


def _service(endpoint: Endpoint | None) -> str | None:
    return endpoint.service_name if endpoint else None


def _failed_client(ancestor: Span, span: Span) -> bool:
    """Return whether the client's half of a call says that it failed."""
    return ancestor.kind == "CLIENT" and span.parent_id == ancestor.id and "error" in ancestor.tags


class _Tree:
    """The spans of a trace below its root: what names no parent, or one that is not here, is the root's child.

    What hangs on a circle, or on a second span with the id of the root, does not count.
    """

    def __init__(self, spans: list[Span]) -> None:
        self.root: Span | None = None
        self._spans: dict[_Key | None, Span] = {}
        self._parents = {_key(span): _parent_key(span) for span in spans}
        some_are_shared = any(span.shared for span in spans)
        for span in spans:
            key = _key(span)
            if some_are_shared and not span.shared and span.parent_id:
                beside = (span.parent_id, span.local_endpoint)  # the server's half, which did the work
                if beside in self._parents:
                    self._parents[key] = beside
            if self.root is None and not span.shared and not span.parent_id:
                self.root = span
                del self._parents[key]
            else:
                self._spans[key] = span

    @property
    def calls_from_root(self) -> bool:
        """True when a span is the child of the root."""
        return any(parent not in self._spans for parent in self._parents.values())

    def below_root(self) -> Iterator[tuple[Span, Span | None, bool]]:
        """Return each span below the root with its caller, and whether it has children."""
        callers: dict[_Key | None, Span | None] = {}
        lost: set[_Key | None] = set()
        with_children = set(self._parents.values())
        for key in self._parents:
            if key not in callers and key not in lost:
                self._find_callers(key, callers, lost)
            if key in callers:
                yield self._spans[key], callers[key], key in with_children

    def _find_callers(self, key: _Key, callers: dict[_Key | None, Span | None], lost: set[_Key | None]) -> None:
        """Look upwards until a span whose caller is known, or the root."""
        path: dict[_Key | None, Span] = {}
        above: _Key | None = key
        while above in self._spans and above not in callers:
            if above in path or above in lost or above not in self._parents:
                lost.update(path)
                return
            path[above] = self._spans[above]
            above = self._parents[above]
        if above in callers:
            span = self._spans[above]
            caller = span if span.kind else callers[above]
        else:
            caller = self.root if self.root and self.root.kind else None
        for found in reversed(path):
            callers[found] = caller
            caller = path[found] if path[found].kind else caller


def _key(span: Span) -> _Key:
    return (span.id, span.local_endpoint) if span.shared else span.id


def _parent_key(span: Span) -> _Key | None:
    return span.id if span.shared else span.parent_id
