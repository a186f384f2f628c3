"""Adding samples up: to a tree of calls, and to tables of functions and lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from obskit.collector.profiles.stacks import Frame, Labels, Stacks, Sums
from obskit.zipkin.ids import trace_key

MOST_NODES = 8_192
_FEW = 5  # outer calls that are drawn in any case
_is_library = re.compile(r"[/\\](?:site-packages|dist-packages|lib[/\\]python[\d.]+)[/\\]|^obskit/|^<frozen |^$").search

Place = tuple[str, str]
"""Function and file."""


@dataclass(frozen=True)
class Choice:
    """Which samples are added up: those of a route, a trace, a version; below a function; grouped by a label."""

    route: str = ""
    trace: str = ""
    function: str = ""
    group: str = ""
    version: str = ""

    @property
    def is_plain(self) -> bool:
        """Return whether samples are taken without a look at their labels."""
        return not (self.route or self.trace or self.group or self.version)

    def takes(self, labels: Labels) -> bool:
        """Return True for samples with these labels."""
        named = dict(labels)
        return (
            self.route in ("", named.get("http.route", ""))
            and self.version in ("", version_of(named))
            and (not self.trace or trace_key(named.get("trace_id", "").lower()) == trace_key(self.trace))
        )


@dataclass
class Node:
    """A function, as called by those above it; with the line that most of its samples were at."""

    place: Place
    value: int = 0
    lines: dict[int, int] = field(default_factory=dict)
    children: dict[Place, Node] = field(default_factory=dict)

    def below(self, place: Place) -> Node:
        """Return the function as called by this one, which is made if it is not there."""
        found = self.children.get(place)
        if found is None:
            found = self.children[place] = Node(place)
        return found

    @property
    def line(self) -> int:
        """The line that most samples were at."""
        return max(self.lines, key=self.lines.__getitem__, default=0)


@dataclass
class Flame:
    """The calls of all samples that were chosen, and what stands in tables beside them."""

    root: Node = field(default_factory=lambda: Node(("all", "")))
    own: Counter[Frame] = field(default_factory=Counter)  # by line
    total: Counter[Place] = field(default_factory=Counter)
    callers: Counter[Place] = field(default_factory=Counter)  # of the function that was chosen
    routes: Counter[str] = field(default_factory=Counter)  # of all samples, chosen or not
    versions: Counter[str] = field(default_factory=Counter)  # the same
    cut: int = 0  # nodes that were left out

    def add(self, sums: Sums, choice: Choice) -> None:
        """Add samples."""
        frames, labels = list(sums.frames), [dict(its) for its in sums.labels]
        taken = [choice.takes(its) for its in sums.labels]
        groups = [its.get(choice.group, "(none)") if choice.group else "" for its in labels]
        for stack, values in sums.samples.items():
            chosen: dict[str, int] = {}
            for label, value in values.items():
                if taken[label]:
                    chosen[groups[label]] = chosen.get(groups[label], 0) + value
            for group, value in chosen.items():
                self._add([frames[frame] for frame in stack], value, choice.function, group)
        for named, value in sums.by_labels():
            self.routes[dict(named).get("http.route", "")] += value
            self.versions[version_of(dict(named))] += value

    def _add(self, frames: list[Frame], value: int, function: str, group: str) -> None:
        if function:
            begin = next((number for number, frame in enumerate(frames) if frame[0] == function), -1)
            if begin < 0:
                return
            self.callers[frames[begin - 1][:2] if begin else ("(nobody)", "")] += value
            frames = frames[begin:]
        node = self.root
        node.value += value
        for name, file, line in ([(group, "", 0)] if group else []) + frames:
            node = node.below((name, file))
            node.value += value
            node.lines[line] = node.lines.get(line, 0) + value
        self._count(frames, value)

    def _count(self, frames: list[Frame], value: int) -> None:
        """Add samples to the tables of lines and functions."""
        if frames:
            self.own[frames[-1]] += value
        for place in {frame[:2] for frame in frames}:
            self.total[place] += value

    def callees(self) -> Counter[Place]:
        """Return what the outermost functions called."""
        found: Counter[Place] = Counter()
        for node in self.root.children.values():
            found.update({place: child.value for place, child in node.children.items()})
        return found


def fold(sums: Sums, choice: Choice) -> Flame:
    """Return chosen samples, of which the smallest calls are left out where there would be too many."""
    flame = Flame()
    flame.add(sums, choice)
    values = sorted((node.value for node in nodes(flame.root)), reverse=True)
    if len(values) > MOST_NODES:
        flame.cut = _cut(flame.root, values[MOST_NODES])
    return flame


def without_outer_calls(flame: Flame) -> tuple[Flame, int]:
    """Return it without the outermost calls as far as all samples share them and they are of libraries; and how many.

    These are a server's and a framework's, above what the application does with a request.
    """
    node, outer = flame.root, list[Place]()
    while len(node.children) == 1:
        (child,) = node.children.values()
        if child.value < node.value or not is_library(child.place[1]):
            break
        node = child
        outer.append(node.place)
    if len(outer) < _FEW or not node.children:
        return flame, 0
    total = Counter({place: value for place, value in flame.total.items() if place not in outer})
    return replace(flame, root=replace(flame.root, children=node.children), total=total), len(outer)


def tables_of(sums: Sums) -> Flame:
    """Return what stands in tables, and the root without the calls below it."""
    flame, frames = Flame(), list(sums.frames)
    for stack, values in sums.samples.items():
        value = sum(values.values())
        flame.root.value += value
        flame._count([frames[frame] for frame in stack], value)
    return flame


def added(profiles: Iterable[Stacks]) -> Sums:
    """Return the samples of profiles, with all of their labels."""
    sums = Sums()
    for stacks in profiles:
        sums.add(stacks)
    return sums


def version_of(labels: Mapping[str, str]) -> str:
    """Return the version of the service that a sample was taken of; empty where it does not say."""
    return labels.get("service.version") or labels.get("version", "")


def nodes(root: Node) -> Iterator[Node]:
    """Return the root and all below it."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children.values())


def _cut(root: Node, least: int) -> int:
    """Leave out what has no more than ``least``; return how many nodes that are."""
    gone = 0
    for node in list(nodes(root)):
        small = [place for place, child in node.children.items() if child.value <= least]
        for place in small:
            gone += sum(1 for _ in nodes(node.children.pop(place)))
    return gone


def is_library(file: str) -> bool:
    """Return True for code that is not the application's own."""
    return _is_library(file) is not None
