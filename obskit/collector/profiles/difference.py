"""Compares profiles with those of an earlier time or of another version.

Two flame graphs are shown as one: what each call took of either, as a share of all, since their totals differ.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from obskit.collector.lines.params import parse_time
from obskit.collector.lines.search import EVER
from obskit.collector.profiles.flame import Flame, Node, Place
from obskit.collector.profiles.stacks import Frame
from obskit.collector.query import QueryError

_VERSION = "version:"


@dataclass(frozen=True)
class Base:
    """What profiles are compared with: a time (microseconds) and a version, and how that is said."""

    first: int
    last: int
    version: str
    said: str

    @property
    def earlier(self) -> bool:
        """True for another time, False for another version."""
        return not self.version


def parse_base(params: Mapping[str, str], first: int, last: int) -> Base | None:
    """Return what ``base`` asks for: ``1d`` is the time from ``first`` to ``last`` one day earlier. Raises QueryError.

    Where there is no first moment, ``1d`` is the day before the last day. ``version:1.4.1`` is at any time.
    """
    text = params.get("base", "")
    if not text:
        return None
    if text.startswith(_VERSION):
        version = text[len(_VERSION) :]
        return Base(0, EVER, version, f"of version {version}")
    now = time.time_ns() // 1_000
    try:
        shift = now - parse_time({"last": text})[0]
    except QueryError:
        raise QueryError(f"base is {text[:40]!r}; give a time such as 1h or 1d, or a version: version:1.4.1") from None
    end = min(last, now)
    begin = first or end - shift
    return Base(max(begin - shift, 0), end - shift, params.get("version", ""), f"{text} earlier")


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
