"""Two traces side by side: each row of the one with that of the other which did the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from obskit.collector.waterfall.nodes import FEWEST_REPEATS, Node

_Kind = tuple[str, str | None, str | None, str]


@dataclass(frozen=True)
class Pair:
    """What one trace did (``before``) and the other (``now``): one span each, none, or all of many equal siblings."""

    before: list[Node]
    now: list[Node]
    depth: int

    @property
    def node(self) -> Node:
        """A span that names both."""
        return (self.now or self.before)[0]

    @property
    def took(self) -> tuple[int, int]:
        """The durations, in microseconds; of several spans their sum."""
        return sum(node.duration for node in self.before), sum(node.duration for node in self.now)

    @property
    def slower(self) -> int:
        """By how many microseconds it took longer now."""
        before, now = self.took
        return now - before


def compare(before: Iterable[Node], now: Iterable[Node]) -> list[Pair]:
    """Return the pairs in reading order. Roots, and the children of a pair, go together by service, name and kind.

    Of equal ones the first goes with the first, or all with all if there are many.
    """
    found: list[Pair] = []
    waiting = list(_paired(before, now, 0))[::-1]
    while waiting:
        pair = waiting.pop()
        found.append(pair)
        below = _paired(_children(pair.before), _children(pair.now), pair.depth + 1)
        waiting += list(below)[::-1]
    return found


def _paired(before: Iterable[Node], now: Iterable[Node], depth: int) -> Iterator[Pair]:
    alike: dict[_Kind, tuple[list[Node], list[Node]]] = {}
    for side, nodes in enumerate((before, now)):
        for node in nodes:
            alike.setdefault(_kind(node), ([], []))[side].append(node)
    for old, new in sorted(alike.values(), key=_begin):
        if max(len(old), len(new)) >= FEWEST_REPEATS:
            yield Pair(old, new, depth)
        else:
            for one, other in zip_longest(old, new):
                yield Pair([one] if one else [], [other] if other else [], depth)


def _begin(nodes: tuple[list[Node], list[Node]]) -> int:
    """Return when the first of them began since its trace's root did."""
    return min(node.start - _root(node).start for side in nodes for node in side[:1])


def _root(node: Node) -> Node:
    while node.parent:
        node = node.parent
    return node


def _children(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield the spans below; folded repeats one by one."""
    for node in nodes:
        for child in node.children:
            yield from child.children if child.repeats else (child,)


def _kind(node: Node) -> _Kind:
    return node.service, node.span.name, node.span.kind, node.half.service if node.half else ""
