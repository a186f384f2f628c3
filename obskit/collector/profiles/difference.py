"""Two flame graphs as one: what each call took of either, as shares of all, since their totals differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from obskit.collector.profiles.flame import Flame, Node, Place
from obskit.collector.profiles.stacks import Frame


@dataclass
class Change:
    """A function, as called by those above it, and its percentage of all samples, ``before`` and ``now``."""

    place: Place
    before: float
    now: float
    line: int = 0
    children: list[Change] = field(default_factory=list)

    @property
    def points(self) -> float:
        """By how many percentage points it grew."""
        return self.now - self.before

    @property
    def width(self) -> float:
        """The mean of both: what has gone is still seen, and the calls of a function are never wider than it."""
        return (self.before + self.now) / 2


def changes(before: Flame, now: Flame) -> Change:
    """Return the tree of both graphs, of which neither may be empty."""
    top = _change(before.root, now.root, before.root.value, now.root.value)
    waiting = [(top, before.root, now.root)]
    while waiting:
        change, old, new = waiting.pop()
        places = [*new.children, *(place for place in old.children if place not in new.children)]
        for place in places:
            one, other = (node.children.get(place) or Node(place) for node in (old, new))
            below = _change(one, other, before.root.value, now.root.value)
            change.children.append(below)
            waiting.append((below, one, other))
    return top


def by_function(before: Counter[Place], now: Counter[Place], totals: tuple[int, int]) -> list[Change]:
    """Return functions by how much they changed, the most first. ``totals`` are the sums of all samples."""
    places = dict.fromkeys([*now, *before])
    found = (Change(place, *_shares(before[place], now[place], *totals)) for place in places)
    return sorted(found, key=lambda change: -abs(change.points))


def own_time(own: Iterable[tuple[Frame, int]]) -> Counter[Place]:
    """Return the time of functions themselves from that of their lines."""
    found: Counter[Place] = Counter()
    for frame, value in own:
        found[frame[:2]] += value
    return found


def _change(before: Node, now: Node, all_before: int, all_now: int) -> Change:
    return Change(now.place, *_shares(before.value, now.value, all_before, all_now), now.line or before.line)


def _shares(before: int, now: int, all_before: int, all_now: int) -> tuple[float, float]:
    return 100 * before / all_before, 100 * now / all_now
