"""The spans of a trace added up by what led to them: equal spans below equal spans are one call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from obskit.collector.waterfall.nodes import Node

_Key = tuple[str, str]


@dataclass(eq=False, slots=True)
class Call:
    """Spans of one service and name. Times are microseconds."""

    service: str
    name: str
    spans: list[Node] = field(default_factory=list)
    total: int = 0  # their own time, and that of all below them
    children: dict[_Key, Call] = field(default_factory=dict)

    @property
    def own(self) -> int:
        """The time in which nothing below them ran."""
        return sum(node.own for node in self.spans)

    @property
    def failed(self) -> int:
        """How many of the spans have a tag ``error``."""
        return sum("error" in node.span.tags for node in self.spans)

    @property
    def longest(self) -> Node:
        """The span that took longest."""
        return max(self.spans, key=lambda node: node.duration)


def add_up(roots: Iterable[Node]) -> Call:
    """Return what stands for the whole trace, with the calls below it. A server's half is called by its client's."""
    top = Call("", "")
    waiting, found = [(node, top) for node in roots], [top]
    while waiting:
        node, parent = waiting.pop()
        call = parent
        for half in () if node.repeats else filter(None, (node, node.half)):
            key = half.service, half.span.name or "unnamed"
            if key not in call.children:
                call.children[key] = Call(*key)
                found.append(call.children[key])
            call = call.children[key]
            call.spans.append(half)
        waiting += [(child, call) for child in node.children]
    for call in reversed(found):  # what is below comes after
        call.total = call.own + sum(child.total for child in call.children.values())
    return top


def by_operation(top: Call) -> list[Call]:
    """Return one for each service and name, wherever they were called, those that took most time themselves first."""
    found: dict[_Key, Call] = {}
    waiting = list(top.children.items())
    while waiting:
        key, call = waiting.pop()
        found.setdefault(key, Call(*key)).spans += call.spans
        waiting += call.children.items()
    return sorted(found.values(), key=lambda call: -call.own)
