"""The tree of a trace: one node for each span, then one for both halves of a call, then one for many equal siblings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from obskit.collector.tree import arrange, service_of
from obskit.zipkin.model import Span

FEWEST_REPEATS = 5  # equal siblings that are worth a line of their own; Sentry's number as well
_Kind = tuple[str, str | None, str | None, str | None]


@dataclass(eq=False, slots=True)
class Node:
    """A line of the waterfall. Times are microseconds, by the clock of the root; ``start`` 0 is not known."""

    span: Span
    parent: Node | None
    start: int
    duration: int
    orphan: bool = False  # the parent that it names is not in the trace
    shift: int = 0  # what was added to its start, since its clock was elsewhere
    half: Node | None = None  # the server's half of the call that this client made
    children: list[Node] = field(default_factory=list)
    repeats: int = 0  # how many equal siblings stand below this line, which is no span itself
    own: int = 0  # time in which no child was running
    critical: list[tuple[int, int]] = field(default_factory=list)  # when the whole trace waited for it
    depth: int = 0

    @property
    def end(self) -> int:
        """The moment when it ended."""
        return self.start + self.duration

    @property
    def service(self) -> str:
        """Return the local service."""
        return service_of(self.span)

    @property
    def failed(self) -> bool:
        """Return True for a span with a tag ``error``, of either half, and for repeats with such a one."""
        if self.repeats:
            return any(child.failed for child in self.children)
        return "error" in self.span.tags or (self.half is not None and "error" in self.half.span.tags)


def build(spans: list[Span]) -> list[Node]:
    """Return a node for each span, parents before children, every span exactly once."""
    nodes: list[Node] = []
    above: list[Node] = []
    for row in arrange(spans):
        del above[row.depth :]
        parent = above[-1] if above else None
        node = Node(row.span, parent, row.span.timestamp or 0, row.span.duration or 0, row.orphan)
        if parent:
            parent.children.append(node)
        above.append(node)
        nodes.append(node)
    return nodes


def join_halves(nodes: list[Node]) -> list[Node]:
    """Return the nodes without the server's half of each call, which its client's half now has, with its children."""
    joined: set[Node] = set()
    for node in nodes:
        servers = [child for child in node.children if child.span.kind == "SERVER"]
        if node.span.kind != "CLIENT" or len(servers) != 1 or node in joined:
            continue
        half = node.half = servers[0]
        joined.add(half)
        rest = [child for child in node.children if child is not half]
        for child in half.children:
            child.parent = node
        node.children = sorted([*rest, *half.children], key=lambda child: child.start)
    return [node for node in nodes if node not in joined]


def fold_repeats(nodes: Iterable[Node]) -> None:
    """Put equal siblings, where there are many, below a line that stands for all."""
    for node in nodes:
        if len(node.children) >= FEWEST_REPEATS:
            node.children = list(_folded(node))


def _folded(parent: Node) -> Iterator[Node]:
    alike: dict[_Kind, list[Node]] = {}
    for child in parent.children:
        alike.setdefault(_kind(child), []).append(child)
    for child in parent.children:
        same = alike[_kind(child)]
        if len(same) < FEWEST_REPEATS:
            yield child
        elif same[0] is child:
            yield _group(parent, same)


def _group(parent: Node, same: list[Node]) -> Node:
    start = min((child.start for child in same if child.start), default=0)
    end = max(child.end for child in same)
    group = Node(same[0].span, parent, start, max(end - start, 0), children=same, repeats=len(same), half=same[0].half)
    for child in same:
        child.parent = group
    return group


def _kind(node: Node) -> _Kind:
    return node.service, node.span.name, node.span.kind, node.half.service if node.half else None


def flatten(roots: Iterable[Node]) -> list[Node]:
    """Return the nodes from the roots down in reading order, each told how deep it stands."""
    found: list[Node] = []
    waiting: list[tuple[Node, int]] = [(root, 0) for root in roots][::-1]
    while waiting:
        node, depth = waiting.pop()
        node.depth = depth
        found.append(node)
        waiting += [(child, depth + 1) for child in reversed(node.children)]
    return found
