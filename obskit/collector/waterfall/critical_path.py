"""What a trace waited for, and the time that each span spent itself.

The critical path goes from the end of the root back through the child that ended last, as in Jaeger
(``criticalPathForSpan`` of jaeger-ui 2).
"""

from __future__ import annotations

from collections.abc import Iterable

from obskit.collector.waterfall.nodes import Node


def mark(root: Node) -> None:
    """Note in each node when the trace waited for it and nothing below it."""
    waiting = [(root, root.end)]
    while waiting:
        node, until = waiting.pop()
        for child in sorted(node.children, key=lambda child: child.end, reverse=True):
            end = min(child.end, until)
            if not child.start or child.start < node.start or child.start >= end or child.end > node.end:
                continue
            if end < until:
                node.critical.append((end, until))
            waiting.append((child, end))
            until = child.start
        if until > node.start:
            node.critical.append((node.start, until))


def count_own_time(nodes: Iterable[Node]) -> None:
    """Note in each node how long no child of it was running; in a server's half that of the server alone."""
    for node in nodes:
        if node.half:
            node.half.own = node.half.duration - _covered(node.half, node.children)
            node.own = max(node.duration - _covered(node, [node.half, *node.children]), 0)
        else:
            node.own = node.duration - _covered(node, node.children)


def own_time_by_service(nodes: Iterable[Node]) -> dict[str, int]:
    """Return microseconds of each service, the most first."""
    found: dict[str, int] = {}
    for node in nodes:
        for part in filter(None, (node, node.half)):
            found[part.service] = found.get(part.service, 0) + part.own
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _covered(node: Node, children: Iterable[Node]) -> int:
    """Return how much of a node's time at least one of the children was running."""
    total, reached = 0, node.start
    for child in sorted(children, key=lambda child: child.start):
        begin, end = max(child.start, reached), min(child.end, node.end)
        if child.start and end > begin:
            total += end - begin
            reached = end
    return total
